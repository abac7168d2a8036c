"""Train the unigram tokenizer on captions, emoji words and style words; writes models/pocket/tokenizer.json."""

import json
import random

from . import clips as data
from . import paths
from tokenizers import Tokenizer, models, trainers, pre_tokenizers, normalizers, decoders, processors

r = random.Random(1)
caps = [data.caption(r, data.new_spec(r)) for _ in range(60000)]
try:
    d = json.load(open(paths.NPM / "eb/package/en/data.json"))
    for e in d:
        if e.get("group") in (2, 8, 9) or "skin tone" in e["label"]:
            continue
        for w in [e["label"]] + (e.get("tags") or []):
            caps += [w] * 2
except Exception as ex:
    print(ex)
caps += data.FILL * 20 + sum(data.PHR.values(), []) * 20 + [n for s in data.sub for n in s["names"]] * 20
t = Tokenizer(models.Unigram())
t.normalizer = normalizers.Sequence(
    [
        normalizers.NFKC(),
        normalizers.Lowercase(),
        normalizers.Replace("-", " "),
        normalizers.Replace("*", " "),
        normalizers.Replace('"', " "),
        normalizers.Replace("  ", " "),
        normalizers.Strip(),
    ]
)
t.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
t.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
al = [chr(c) for c in range(33, 127) if not chr(c).isupper()] + ["▁"]
tr = trainers.UnigramTrainer(
    vocab_size=2048,
    special_tokens=["<pad>", "</s>", "<unk>"],
    unk_token="<unk>",
    initial_alphabet=al,
    max_piece_length=16,
)
t.train_from_iterator(caps, tr)
t.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
t.save(str(paths.TOKENIZER))
print(t.get_vocab_size())
for s in [
    "a dog walking in grass",
    "a robot walking on mars",
    "A 3D animated scene. A **panda** walks along a path towards the camera in a park on a spring day.",
    "an octopus juggling quantum flapjacks, zzyzx",
]:
    print(t.encode(s).tokens)
L = [len(t.encode(c).ids) for c in caps[:5000]]
print(max(L), sum(L) / len(L))
