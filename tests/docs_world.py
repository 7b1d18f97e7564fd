"""What the commands in the documentation are run on: tiny models and the files that it names."""

from __future__ import annotations

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.data import astronaut

from moving_face import frames, write_film
from seeded import draw
from stylefeatureeditor.editing.catalog import Catalog, CatalogEntry
from stylefeatureeditor.photo.image import to_uint8
from tiny import SIZE, WIDTH, tiny_editor, tiny_photos

NAMES = ("smile", "age", "gender", "glasses")
IMAGES = 8


def make_world(folder: Path) -> None:
    """Write the files into `folder`, and the models `faces` and `ffhq` into its cache."""
    editor = tiny_editor(
        Catalog(
            tuple(
                CatalogEntry(
                    name=name,
                    kind="linear",
                    useful_range=(-5.0, 5.0),
                    tensors={"vector": draw(f"docs.{name}", (WIDTH,))},
                )
                for name in NAMES
            )
        )
    )
    for place in ("cache/models/faces", "cache/models/ffhq", "my_model"):
        editor.save_pretrained(folder / place)
    portrait = Image.fromarray(np.ascontiguousarray(astronaut()[:240, 95:355]))
    group = Image.new("RGB", (520, 240))
    group.paste(portrait, (0, 0))
    group.paste(portrait, (260, 0))
    (folder / "holiday").mkdir()
    shutil.copy(Path(__file__).with_name("looks.toml"), folder)
    for name, picture in (("portrait", portrait), ("group", group), ("holiday/1", portrait)):
        picture.save(folder / f"{name}.jpg", quality=95)
    write_film(folder / "clip.mp4", frames(0.4))
    Image.new("L", portrait.size, 255).save(folder / "mask.png")
    photos = to_uint8(tiny_photos(IMAGES))
    Image.fromarray(photos[0]).save(folder / "aligned.png")
    np.save(folder / "beard.npy", draw("docs.beard", (WIDTH,)).numpy())
    (folder / "faces").mkdir()
    with zipfile.ZipFile(folder / "faces.zip", "w") as archive:
        rows = ["file,split,Smiling,Young"]
        for number, pixels in enumerate(photos):
            data = io.BytesIO()
            Image.fromarray(pixels).resize((SIZE, SIZE)).save(data, "PNG")
            archive.writestr(f"{number}.png", data.getvalue())
            (folder / f"faces/{number}.png").write_bytes(data.getvalue())
            rows.append(f"{number}.png,test,{number % 2},{number // 2 % 2}")
        archive.writestr("manifest.csv", "\n".join(rows))
