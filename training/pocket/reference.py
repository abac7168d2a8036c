"""Write `parity.safetensors.gz`: one stream with a live prompt switch, computed in f32, for tests of other implementations.

python -m pocket.reference ../models/pocket

The frames are small, of an odd height and width: the file stays small too, and nothing divides evenly.
"""

import gzip
import json
import pathlib
import sys

import torch
from safetensors.torch import save

from . import common, evaluate
from .dit import Stream

PROMPTS, SWITCH, LATENTS = ["a dog walking in grass", "a robot walking on mars"], 4, 8
H, W = 5, 9  # of a latent frame
FRAMES = [3, 31]


@torch.no_grad()
def main():
    folder = pathlib.Path(sys.argv[1])
    dit, te, ae, c = evaluate.load(folder)
    tok = common.tokenizer()
    steps = c["sampling"]["default_steps"]
    ids = torch.tensor([e.ids for e in tok.encode_batch(PROMPTS)])
    emb = te(ids)
    kv = [dit.text_kv(emb[i : i + 1]) for i in range(2)]
    g = torch.Generator().manual_seed(42)
    drawn, zs, frames, mem = [], [], [], [None] * 30

    def noise(i):
        drawn.append(torch.randn(1, 1, 48, H * W, generator=g).half())
        return drawn[-1].float()

    s = Stream(dit, (H, W))
    for f in range(LATENTS):
        zs.append(s.frame(kv[f >= SWITCH], steps, noise))
        frames.append(ae.decode(zs[-1].view(1, 1, 48, H, W), mem).clamp(0, 1))
    z, v = torch.cat(zs, 1)[0].view(LATENTS, 48, H, W), torch.cat(frames, 1)[0]
    emem = [None] * 30
    again = torch.cat([ae.encode(v[None, 4 * f : 4 * f + 4], emem) for f in range(4)], 1)[0]
    u8 = (v * 255).round().byte().permute(0, 2, 3, 1)
    out = {
        "ids": ids,
        "text_embedding": emb,
        "noise": torch.cat(drawn, 1)[0].view(-1, 48, H, W),
        "latents": z,
        "first_frame": v[0].half(),
        "frames_u8": u8[FRAMES].contiguous(),
        "reencoded_latents": again,
    }
    meta = dict(prompts=json.dumps(PROMPTS), steps=json.dumps(steps), switch_at_latent=str(SWITCH))
    meta["frames"] = ",".join(str(f) for f in FRAMES)
    packed = gzip.compress(save(out, metadata=meta), 9, mtime=0)
    (folder / "parity.safetensors.gz").write_bytes(packed)
    print({k: tuple(x.shape) for k, x in out.items()}, "std %.4f" % z.std())


if __name__ == "__main__":
    main()
