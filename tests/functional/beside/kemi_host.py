"""Somebody's KEMI script: his own routing in a class that takes what the focus does from the MRFC's."""

import os
import sys
from typing import Any

import KSR

sys.path.insert(0, os.environ["MRFC_SCRIPT_FOLDER"])

import mrfc_kemi  # type: ignore[import-not-found]  # in the folder of the line above, when Kamailio runs


def mod_init() -> Any:
    mrfc_kemi.mod_init()  # reads mrfc.toml, and does not return when it has faults
    return Kamailio()


class Kamailio(mrfc_kemi.Mrfc):  # type: ignore[misc]  # untyped for the same reason
    def ksr_request_route(self, msg: object) -> int:
        if self.serves(msg) > 0:
            return int(super().ksr_request_route(msg))
        if KSR.pv.get("$rm") == "OPTIONS":
            KSR.sl.sl_send_reply(200, "Own Route")
        elif KSR.pv.get("$rm") != "ACK":
            KSR.sl.sl_send_reply(404, "Own Route Knows Nobody")
        return 1

    def ksr_reply_route(self, msg: object) -> int:
        return int(super().ksr_reply_route(msg)) if self.serves_reply(msg) > 0 else 1
