"""The MRFC within somebody's own Kamailio: laboratories with other configurations and scripts."""

from __future__ import annotations

import os
from pathlib import Path

from lab import ROOT, Element, Lab, kamailio

HERE = Path(__file__).parent / "functional" / "beside"


class NativeLab(Lab):
    """With a configuration in Kamailio's own language."""

    script = ROOT / "kamailio" / "mrfc_kemi.py"
    workers = 2

    def start_mrfc(self) -> Element:
        text = (HERE / "native.cfg").read_text()
        host, included = self.folder / "host.cfg", self.folder / "mrfc-include.cfg"
        included.symlink_to(ROOT / "kamailio" / "mrfc-include.cfg")  # Kamailio includes no path with spaces
        host.write_text(text.replace("MRFC_INCLUDE", str(included)))
        return self.start_host(host, self.script)

    def start_host(self, config: Path, script: Path) -> Element:
        """Start a Kamailio with this configuration and this script."""
        os.environ["MRFC_SCRIPT_FOLDER"] = str(ROOT / "kamailio")
        command = [kamailio(), "-DD", "-E", "-f", str(config), "-m", "128", "-M", "16"]
        command += ["-w", str(self.folder), "-Y", str(self.folder)]
        for name, value in {
            "MRFC_LISTEN_UDP": f"udp:{self.sip_address}",
            "MRFC_LISTEN_TCP": f"tcp:{self.sip_address}",
            "MRFC_LISTEN_HTTP": f"tcp:127.0.0.1:{self.ports.http}",
            "MRFC_SCRIPT": f'"{script}"',
            "MRFC_CTL": f'"unix:{self.folder / "kamailio.ctl"}"',
            "MRFC_SIP_WORKERS": str(self.workers),
        }.items():
            command += ["-A", f"{name}={value}"]
        return self._start("mrfc", command, lambda: self._answers(self.ports.http, "/status"))


class KemiLab(NativeLab):
    """With a KEMI script."""

    script = HERE / "kemi_host.py"

    def start_mrfc(self) -> Element:
        return self.start_host(ROOT / "kamailio" / "kamailio.cfg", self.script)
