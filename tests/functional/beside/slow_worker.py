"""The MRFC's script with workers that dawdle over each response before and after they tell the engine of it."""

import os
import sys
import time
from typing import Any

sys.path.insert(0, os.environ["MRFC_SCRIPT_FOLDER"])

import mrfc_kemi  # type: ignore[import-not-found]  # in the folder of the line above, when Kamailio runs

BEFORE, DAWDLE = 0.2, 0.5


def mod_init() -> Any:
    mrfc_kemi.mod_init()
    return SlowWorker()


class SlowWorker(mrfc_kemi.Mrfc):  # type: ignore[misc]  # untyped for the same reason
    def ksr_reply_route(self, msg: object) -> int:
        done = int(super().ksr_reply_route(msg))
        time.sleep(DAWDLE)  # what the engine does meanwhile has to be in order nevertheless
        return done

    def ksr_response(self, msg: object) -> int:
        time.sleep(BEFORE)  # the ACK has gone out, and what the peer does after it comes to another worker
        done = int(super().ksr_response(msg))
        time.sleep(DAWDLE)  # the same
        return done
