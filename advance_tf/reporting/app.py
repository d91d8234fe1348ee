"""The page of `advance app`: an image and a sound in, the answer and its reasons out.

The page is made with Gradio. It loads nothing from other hosts, and a policy in its
headers keeps the browser from doing so; telemetry and sharing are off.
"""

import contextlib
import os
import pathlib
import socket
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

from advance_tf import labels
from advance_tf.extras import requires_extra
from advance_tf.inference.prediction import Prediction
from advance_tf.reporting.answers import AnswerExplainer, ExplainedAnswer
from advance_tf.reporting.media import jpeg_uri

if TYPE_CHECKING:
    import fastapi
    import gradio

TEMPLATE, STYLE = "answer.html.j2", "answer.css"
LOCAL_HOSTS = ("127.0.0.1", "localhost")
_SCENES = 5
_EVENTS = 8
_NO_INPUT = (
    "The page needs an image, a sound or both; received neither. Drop a file, or "
    "record a sound."
)
_HEADING = (
    '<h1 class="app-title">Scene of an image and a sound</h1><p class="app-about">'
    "The answer: the scene with its confidence, the events, and what decided.</p>"
)
_EMPTY = (
    '<div class="answer"><p class="answer-quiet">Give an aerial image, a sound or '
    "both, and press Predict. The answer appears here.</p></div>"
)
# Gradio evaluates its templates and has scripts and styles in the page.
_POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",
        "style-src 'self' 'unsafe-inline'",
        *(f"{kind}-src 'self' data: blob:" for kind in ("img", "media", "connect")),
        *("font-src 'self' data:", "worker-src 'self' blob:", "object-src 'none'"),
        *("base-uri 'self'", "form-action 'self'", "frame-ancestors 'none'"),
    )
)
_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
)
_SETTINGS = {"GRADIO_ANALYTICS_ENABLED": "False"}
_SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
_MONOSPACED_FONTS = ("ui-monospace", "Consolas", "monospace")

Upload = Mapping[str, Any]
Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]


def render_answer(answer: ExplainedAnswer, status: str = "") -> str:
    """The answer as HTML, in which every value is escaped.

    Args:
        answer: the answer.
        status: text in place of the status of a prediction without an answer.

    Returns:
        A `div` element with `STYLE` as its style.
    """
    # Imported here, since it needs jinja2.
    from advance_tf.reporting.map_page import environment

    templates = environment()
    templates.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    pictures = {"image": answer.image_map, "log-mel": answer.log_mel_map}
    colors = dict(zip(labels.scenes(), labels.SCENE_COLORS, strict=True))
    return templates.get_template(TEMPLATE).render(
        answer=answer,
        prediction=answer.prediction,
        status=status or answer.prediction.status,
        maps={k: jpeg_uri(p) for k, p in pictures.items() if p is not None},
        colors=colors,
        scene_count=_SCENES,
        event_count=_EVENTS,
    )


def answer_uploads(
    explainer: AnswerExplainer, image: Upload | None, sound: Upload | None
) -> str:
    """Answers for the files of the page.

    Args:
        explainer: the model.
        image: Gradio's description of a file, of which `path` and `orig_name` are
            used; None for no image.
        sound: the same for the sound.

    Returns:
        HTML: the answer, or the reason why there is none.
    """
    files = {k: file for k, file in (("image", image), ("sound", sound)) if file}
    if not files:
        return render_answer(_failure(_NO_INPUT))
    paths = {kind: str(file["path"]) for kind, file in files.items()}
    names = {
        kind: str(file.get("orig_name") or pathlib.Path(paths[kind]).name)
        for kind, file in files.items()
    }
    name = pathlib.Path(next(iter(names.values()))).stem
    try:
        answer = explainer.explain(paths.get("image"), paths.get("sound"), name=name)
    except ValueError as error:
        answer = _failure(str(error))
    status = answer.prediction.status
    for kind, path in paths.items():
        # The folder of the uploaded files means nothing to the user.
        status = status.replace(path, names[kind])
    return render_answer(answer, status)


def _failure(status: str) -> ExplainedAnswer:
    return ExplainedAnswer(Prediction("", status=status))


def build_page(explainer: AnswerExplainer) -> "gradio.Blocks":
    """Builds the page.

    Args:
        explainer: the model.

    Returns:
        Gradio's page, which is not served yet.

    Raises:
        ImportError: Gradio is not installed.
    """
    with requires_extra("app"):
        import gradio

    model = explainer.model
    with gradio.Blocks(title="advance_tf", analytics_enabled=False) as page:
        gradio.HTML(_HEADING, apply_default_css=False, padding=False)
        with gradio.Row():
            with gradio.Column(min_width=300, scale=2):
                image = gradio.Image(
                    label="Aerial image (JPEG, PNG, BMP, WebP)",
                    sources=["upload", "clipboard"],
                    type="filepath",
                    buttons=[],
                    visible=model.uses("image"),
                    elem_id="image",
                    height=260,
                )
                sound = gradio.Audio(
                    label="Sound (WAV, or a recording)",
                    sources=["upload", "microphone"],
                    type="filepath",
                    buttons=[],
                    editable=False,
                    visible=model.uses("sound"),
                    elem_id="sound",
                )
                button = gradio.Button("Predict", variant="primary", elem_id="predict")
            with gradio.Column(min_width=300, scale=3):
                shown = gradio.HTML(
                    _EMPTY,
                    elem_id="answer",
                    apply_default_css=False,
                    padding=False,
                    js_on_load=None,
                )
        button.click(
            lambda image, sound: answer_uploads(explainer, image, sound),
            [image, sound],
            shown,
            # The files reach the model unchanged.
            preprocess=False,
            api_visibility="private",
            # The interpreters of LiteRT serve one call at a time.
            concurrency_limit=1,
        )
    return page


def build_app(
    explainer: AnswerExplainer, host: str = LOCAL_HOSTS[0]
) -> "fastapi.FastAPI":
    """Builds the web application of the page.

    Args:
        explainer: the model.
        host: address that it will be served at. For a local one, requests under other
            host names are refused, so that no site can reach it by a name of its own.

    Returns:
        An ASGI application.

    Raises:
        ImportError: Gradio is not installed.
    """
    with requires_extra("app"):
        import fastapi
        import gradio
        from fastapi.middleware.trustedhost import TrustedHostMiddleware

    app = fastapi.FastAPI(openapi_url=None)
    app.add_middleware(_SecureHeaders)
    allowed = list(LOCAL_HOSTS) if host in LOCAL_HOSTS else ["*"]
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=allowed)
    theme = gradio.themes.Base(
        primary_hue="teal", font=_SYSTEM_FONTS, font_mono=_MONOSPACED_FONTS
    )
    mounted: fastapi.FastAPI = gradio.mount_gradio_app(
        app,
        build_page(explainer),
        "/",
        theme=theme,
        css=labels.asset_path(STYLE).read_text(encoding="utf-8"),
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        max_file_size=explainer.max_bytes,
    )
    return mounted


class _SecureHeaders:
    """Adds headers to every response.

    Args:
        app: an ASGI application.
    """

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Any, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await self._app(scope, receive, send_with_headers)


class AppServer:
    """The page on an address of this computer, for the body of a `with` statement.

    The files that the page receives are in a temporary folder, which is removed at the
    end.

    Args:
        explainer: the model.
        host: address; any but 127.0.0.1 admits other machines, which need no password.
        port: port; 0 for any that is free.

    Attributes:
        url: address of the page, in the body.

    Raises:
        ImportError: Gradio is not installed.
        ValueError: the address is in use, or none of this computer.

    Example:
        >>> explainer = AnswerExplainer("runs/event")  # doctest: +SKIP
        >>> with AppServer(explainer) as server:  # doctest: +SKIP
        ...     server.wait()
    """

    def __init__(
        self,
        explainer: AnswerExplainer,
        *,
        host: str = LOCAL_HOSTS[0],
        port: int = 7860,
    ) -> None:
        self._explainer, self._host, self._port = explainer, host, port
        self._resources = contextlib.ExitStack()
        self.url = ""

    def __enter__(self) -> "AppServer":
        with self._resources:
            self._start()
            # __exit__ releases the resources, or the end of this block after an error.
            self._resources = self._resources.pop_all()
        return self

    def _start(self) -> None:
        with requires_extra("app"):
            import uvicorn

        listening = self._resources.enter_context(_listen(self._host, self._port))
        self.url = f"http://{self._host}:{listening.getsockname()[1]}"
        folder = self._resources.enter_context(
            # An open response may keep a file.
            tempfile.TemporaryDirectory(
                prefix="advance-app-", ignore_cleanup_errors=True
            )
        )
        settings = {**_SETTINGS, "GRADIO_TEMP_DIR": folder}
        self._resources.enter_context(_environment(settings))
        config = uvicorn.Config(
            build_app(self._explainer, self._host),
            log_level="warning",
            # Open pages hold a connection for events.
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=server.run, kwargs={"sockets": [listening]}, daemon=True
        )
        self._thread.start()
        self._resources.callback(self._stop, server)
        while not server.started and self._thread.is_alive():
            self._thread.join(0.02)
        if not server.started:
            raise ValueError(f"The server at {self.url} did not start.")

    def _stop(self, server: Any) -> None:
        server.should_exit = True
        self._thread.join(10)

    def __exit__(self, *error: object) -> None:
        self._resources.close()

    def wait(self) -> None:
        """Waits until the server ends, which happens on an interruption only."""
        while self._thread.is_alive():
            self._thread.join(1)


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise ValueError(
            f"host and port must be a free address of this computer; received "
            f"{host}:{port}: {error.strerror or error}. Give another `port`, or 0 for "
            "any that is free."
        ) from error


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Sets environment variables for the body."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
