"""Contact sheets, long roll-outs and video-to-video of a trained model.

python -m pocket.evaluate --model ../models/pocket --out out/eval [--prompts n]
"""

import argparse
import pathlib

import torch

from . import clips, common, pack, render
from .autoencoder import TAE
from .dit import DiT, Stream
from .text import TextEnc

LOOK = [
    "a dog walking in grass", "a cow walking in grass", "a dragon flying through clouds", "a robot walking on mars",
    "a panda walking in the snow", "a fish swimming underwater", "a fox dancing at a disco", "a rocket flying in space",
    "a horse running on the beach", "a penguin walking in the snow", "a car driving in the city at night", "a lion walking in the desert",
]  # fmt: skip
PROMPTS = LOOK + [
    "an elephant walking in the jungle", "a cat jumping in a park", "a giraffe walking on a farm", "a shark swimming underwater",
    "a butterfly flying in a garden", "a sailboat sailing on the ocean", "a wizard walking near a castle", "an astronaut walking on the moon",
    "a ghost floating in a graveyard", "a santa walking in the snow", "a t-rex running near a volcano", "a zebra running in the desert",
    "a rabbit jumping in an autumn forest", "a bee flying in a meadow", "an octopus swimming in a coral reef", "a train driving in the mountains",
    "a helicopter flying in the sky", "a unicorn walking in candy land", "a bear walking in the forest", "an owl flying at sunset",
    "a blue dog running on the beach", "two penguins walking in the snow", "a pink elephant dancing at a party", "a cat and a dog walking in a park",
    "a ninja running in the city, black and white", "a tiger walking in the forest, pixel art", "a frog jumping in the rain", "a camel walking in the desert, golden hour",
]  # fmt: skip


def text_kv(dit, te, tok, prompts, dev):
    ids = torch.tensor([e.ids for e in tok.encode_batch(prompts)], device=dev)
    return dit.text_kv(te(ids))


@torch.no_grad()
def latents(dit, te, tok, prompts, hw, steps, n, dev, seed=0, source=None):
    """Roll out `n` latent frames for each prompt: [B,n,C,h,w]. `source` [B,n,C,h,w]: video-to-video from steps[0]."""
    B, T = len(prompts), hw[0] * hw[1]
    kv = text_kv(dit, te, tok, prompts, dev)
    g = torch.Generator(device=dev).manual_seed(seed)
    noise = lambda i: torch.randn(B, 1, dit.zc, T, generator=g, device=dev)
    s = Stream(dit, hw, B, dev)
    src = None if source is None else source.flatten(3)
    z = [s.frame(kv, steps, noise, None if src is None else src[:, f : f + 1]).float() for f in range(n)]
    return torch.cat(z, 1).view(B, n, dit.zc, *hw)


@torch.no_grad()
def decode(ae, z):
    """Streaming decode in short pieces, clamped."""
    mem = [None] * 30
    return torch.cat([ae.decode(x, mem).clamp(0, 1).float() for x in z.split(5, 1)], 1)


def generate(dit, te, ae, tok, prompts, hw, steps, n, dev, seed=0, source=None):
    return decode(ae, latents(dit, te, tok, prompts, hw, steps, n, dev, seed, source))


@torch.no_grad()
def final(dit, te, ae, tok, steps, out, dev, say, amp, small=False):
    """Everything that is measured of a finished model."""
    wide, square = (9, 16), (12, 12)
    k = 2 if small else None
    with amp():
        for name, st in (("prompts3", steps), ("prompts2", [1.0, 0.75])):
            v = generate(dit, te, ae, tok, PROMPTS[:k], wide, st, 2 if small else 15, dev)
            common.sheet(v[:, 3:], out / f"{name}.webp", 4, 0.625)
            say(name, "written")
        v = generate(dit, te, ae, tok, LOOK[: k or 8], square, steps, 2 if small else 12, dev, seed=1)
        common.sheet(v, out / "square.webp", 4, 0.5)
        z = latents(dit, te, tok, LOOK[:k], wide, steps, 2 if small else 150, dev, seed=2)
        s = z.std((2, 3, 4))
        at = [0, len(s[0]) // 4, len(s[0]) // 2, len(s[0]) - 1]
        for p, row in zip(LOOK, s):
            say("long", p, "latent std at frames", [f"{4 * i}: {row[i]:.3f}" for i in at])
        common.sheet(decode(ae, z), out / "long.webp", 8, 0.5)
        # video-to-video: drawn clips with other subjects, at three noise scales
        import random

        r = random.Random(5)
        R = render.Renderer(dev, dtype=torch.float32)
        made = [("car", "drive", "city", "a robot walking on mars"), ("cat", "walk", "beach", "a lion walking in the snow"),
                ("eagle", "fly", "clouds", "a dragon flying in space"), ("man", "walk", "park", "an astronaut walking on the moon")]  # fmt: skip
        nf = 8 if small else 40
        import numpy as np

        par = np.stack([clips.frames(clips.fixed_spec(a, b, c, r), nf) for a, b, c, _ in made])
        v = R.clips(par[:, : nf if not small else 8]).float()
        rows = [v]
        z = ae.encode(v).float()
        for scale in (0.6, 0.7, 0.8):
            st = [t for t in (scale, 0.75 * scale, 0.5 * scale)]
            zz = latents(dit, te, tok, [m[3] for m in made], wide, st, z.shape[1], dev, seed=3, source=z)
            rows.append(decode(ae, zz))
        common.sheet(torch.stack(rows, 1).flatten(0, 1), out / "v2v.webp", 4, 0.5)


def load(folder, dev="cpu"):
    """(dit, text, ae, config) of a folder as committed."""
    folder = pathlib.Path(folder)
    c = pack.config(folder)
    d, t, e = c["transformer"], c["text_encoder"], c["autoencoder"]
    dit = DiT(
        d=d["dim"], layers=d["layers"], heads=d["heads"], ffn=d["ffn_dim"], text_dim=t["dim"], past=d["window"] - 1
    )
    dit.load_state_dict(pack.load(folder / "dit.safetensors"))
    te = TextEnc(t["vocab"], d=t["dim"], h=t["heads"], f=t["ffn_dim"], layers=t["layers"])
    te.load_state_dict(pack.load(folder / "text.safetensors"))
    ae = TAE(
        zc=e["latent_channels"], enc=e["encoder"], dec=e["decoder"], nm=e["encoder_blocks"], nd=e["decoder_blocks"]
    )
    ae.load_state_dict(pack.load(folder / "ae.safetensors"))
    return dit.to(dev).eval(), te.to(dev).eval(), ae.to(dev).eval(), c


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--model", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--device", default="cpu")
    a = ap.parse_args()
    dit, te, ae, c = load(a.model, a.device)
    out = pathlib.Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    import contextlib

    final(dit, te, ae, common.tokenizer(), c["sampling"]["default_steps"], out, a.device, print, contextlib.nullcontext)


if __name__ == "__main__":
    main()
