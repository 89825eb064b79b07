"""The console script with the small worker of tests/master for the real one: stand_in.py DIR COMMAND..."""

import sys
import types
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "master"))

from mail_system import StandIn

from fastrelay.admin import command_line

worker = types.ModuleType("fastrelay.master.worker")
if (Path(sys.argv[1]) / "broken").exists():
    worker.run = lambda context: sys.exit(9)
else:
    worker.run = lambda context: StandIn(context).run()
sys.modules["fastrelay.master.worker"] = worker

sys.exit(command_line.fastrelay(["-c", *sys.argv[1:]]))
