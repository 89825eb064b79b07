"""Haraka beside the others (`--also haraka`), from npm; it needs Node 20 (Debian's packages `nodejs` and `npm`).

    npm install --prefix build/haraka Haraka

Its promise before the 250: a file a message, synced before it gets its name, and its directory not (strace).
One process serves and delivers, as it comes; one connection to the next hop a message.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping

from bench.whole.others import BUILD, Other


class Haraka(Other):
    program = BUILD / "haraka/node_modules/Haraka/bin/haraka"

    def configuration(self) -> Mapping[str, str]:
        next_hop = json.dumps({"nexthop": f"127.0.0.1:{self.directory.sink_port}"})
        return {
            "config/smtp.ini": f"listen=127.0.0.1:{self.port}\n",
            "config/me": "relay.example\n",
            "config/plugins": "relay\n",
            "config/relay_acl_allow": "127.0.0.0/8\n",
            "config/relay_dest_domains.ini": f"[domains]\nany={next_hop}\n",
            "config/queue_dir": f"{self.spool}/queue\n",
        }

    def foreground(self) -> list[str]:
        return ["node", str(self.program), "-c", str(self.directory.etc)]

    def prepare(self) -> None:
        """The files that it comes with, as `haraka -i` copies them; its own are written over them."""
        ours = self.directory.etc / "config"
        shutil.copytree(self.program.parents[1] / "config", ours, dirs_exist_ok=True)
        super().prepare()
