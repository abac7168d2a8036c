"""Run a whole training campaign on this machine's one or two GPUs and write everything under one folder.

    python -m pocket.campaign --state out/campaign --init ../models/pocket [--gpus 2] [--ends '{"C": 1500}']

Two GPUs: the autoencoder trains on the first while the transformer's image phase runs on the second (on the old
autoencoder's latents until the new encoder is final); from phase A both train the transformer. One GPU: the same in turn.
`plan.json` in the state folder holds the phases' ends in seconds and may be edited while it runs.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

ENDS = {
    2: {"ae_joint": 380, "ae_decoder": 720, "I": 740, "A": 1000, "B": 1150, "C": 1400},
    1: {"ae_joint": 300, "ae_decoder": 420, "I": 760, "A": 1000, "B": 1130, "C": 1400},
}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--state", required=True)
    ap.add_argument("--init", required=True)
    ap.add_argument("--gpus", type=int, default=2)
    ap.add_argument("--ends", default="{}")
    a = ap.parse_args()
    state = pathlib.Path(a.state)
    state.mkdir(parents=True, exist_ok=True)
    plan = state / "plan.json"
    plan.write_text(json.dumps(dict(t0=time.time(), ends=dict(ENDS[a.gpus], **json.loads(a.ends)))))

    def start(name, gpu, module, *args):
        order = ",".join(
            str((gpu + i) % a.gpus) for i in range(a.gpus)
        )  # its own first; the other stays visible to NCCL
        env = dict(os.environ, CUDA_VISIBLE_DEVICES=order, PYTHONUNBUFFERED="1", OMP_NUM_THREADS="4")
        log = open(state / f"{name}.txt", "w")
        cmd = [sys.executable, "-m", f"pocket.{module}", "--plan", str(plan), *args]
        return subprocess.Popen(cmd, env=env, stdout=log, stderr=subprocess.STDOUT)

    ae, dit = str(state / "ae"), str(state / "dit")
    jobs = [start("ae", 0, "train_ae", "--out", ae, "--init", a.init)]
    common = ["--ae", ae, "--out", dit, "--init", a.init]
    if a.gpus == 2:
        common += ["--first-ae", a.init, "--world", "2", "--warm"]  # both then hold optimiser states to exchange
    jobs.append(start("dit0", a.gpus - 1, "train_dit", *common, "--rank", "0"))
    if a.gpus == 2:
        jobs.append(start("dit1", 0, "train_dit", *common, "--rank", "1"))
    codes = [j.wait() for j in jobs]
    (state / "ALL_DONE").write_text(json.dumps(codes))
    print("exit codes", codes)


if __name__ == "__main__":
    main()
