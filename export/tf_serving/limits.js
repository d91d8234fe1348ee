// Limits of a JSON body, for nginx's module njs: deep nesting overflows the stack of a
// server that parses by recursion.

// A request to `features` has 6 levels: {"instances": [{"image": [[[0, 0, 0]]]}]}.
const MAX_DEPTH = 8;
// Brackets and strings: those of an image of 256 × 256 pixels as lists, twice. It
// bounds the time for which a request occupies a process of nginx.
const MAX_TOKENS = 300000;

// Whether a JSON text is nested deeper than MAX_DEPTH, or has more than MAX_TOKENS.
// The contents of strings are skipped.
function is_refused(text) {
    const token = /["[\]{}]/g;
    let depth = 0;
    let count = 0;
    let found;
    while ((found = token.exec(text)) !== null) {
        count += 1;
        if (count > MAX_TOKENS) {
            return true;
        }
        if (found[0] === '"') {
            let end = text.indexOf('"', token.lastIndex);
            while (end > 0 && is_escaped(text, end)) {
                end = text.indexOf('"', end + 1);
            }
            if (end < 0) {
                return false; // The string does not end: the server refuses it.
            }
            token.lastIndex = end + 1;
        } else if (found[0] === '[' || found[0] === '{') {
            depth += 1;
            if (depth > MAX_DEPTH) {
                return true;
            }
        } else {
            depth -= 1;
        }
    }
    return false;
}

function is_escaped(text, place) {
    let count = 0;
    while (text[place - 1 - count] === '\\') {
        count += 1;
    }
    return count % 2 === 1;
}

function predict(request) {
    const body = request.requestText;
    if (!body || is_refused(body)) {
        request.return(400);
        return;
    }
    request.internalRedirect('@predict');
}

export default { predict, is_refused };
