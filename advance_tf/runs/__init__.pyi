from . import calibration as calibration
from . import converted as converted
from . import event_knowledge as event_knowledge
from . import training as training
from . import workdir as workdir
from .training import train as train
from .workdir import Run as Run
from .workdir import load_run as load_run
