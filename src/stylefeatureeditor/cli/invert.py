"""`sfe invert`: how well the model redraws photos, and files from which they can be edited."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from stylefeatureeditor.cli.batch import INVERSION_SUFFIX, Job, Maker, expanded, note_of, plan_jobs
from stylefeatureeditor.cli.cluster import add_ray, check_ray, run_on_ray
from stylefeatureeditor.cli.edit import common_settings, open_editor, save_crops
from stylefeatureeditor.cli.options import (
    Args,
    Commands,
    add_command,
    add_common,
    chosen_face,
    flag,
)
from stylefeatureeditor.errors import ConfigError
from stylefeatureeditor.files import file_word
from stylefeatureeditor.weights.local_models import find_model


def add_to(commands: Commands) -> None:
    """Add `sfe invert`."""
    parser = add_command(
        commands,
        "invert",
        invert_photos,
        text="write a photo's reconstruction, and a file that `sfe edit` takes instead of it\n"
        "OUT.png is the crop as the model redraws it; OUT.safetensors holds the inversion and the\n"
        "photo. Edits of that file start at once and need no face detector.",
        example="sfe invert portrait.jpg -o portrait_inverted.png\n"
        "sfe edit portrait_inverted.safetensors -e smile=2 -o out.png\n"
        "sfe invert holiday/ --face all -o inverted/",
    )
    parser.add_argument(
        "photos", metavar="PHOTO|DIR", nargs="+", type=Path, help="a photo or a folder of photos"
    )
    add_common(
        parser, "--output", required=True, help="a .png file for one photo, a folder for several"
    )
    flag(parser, "--codes", "write OUT.npy too: the W+ codes, (faces, styles, width)")
    parser.add_argument(
        "--from-codes",
        metavar="FILE",
        type=Path,
        help="codes of another tool for this photo (.pt, .npy, .npz), to which F_k is fitted",
    )
    add_common(parser, "--model", "--method", "--aligned", "--face", "--face-box")
    add_common(parser, "--recursive", "--overwrite")
    add_common(parser, "--device", "--backend", "--precision")
    add_common(parser, "--batch-size", help="with --ray: photos that an actor takes at a time")
    add_ray(parser)


def invert_photos(args: Args) -> int:
    """Run `sfe invert`."""
    args.face = chosen_face(args)
    check_ray(args)
    plan = partial(
        plan_jobs,
        expanded(args.photos),
        args.output.removesuffix(INVERSION_SUFFIX),
        ending="_inverted",
        suffixes=(".png",),
        recursive=args.recursive,
    )
    find_model(args.model)  # refuses at once
    jobs = None if args.ray else plan()
    if args.from_codes and (jobs is None or jobs.several):
        raise ConfigError("--from-codes is for one photo: codes belong to one face")
    if jobs is None:
        return run_on_ray(args, plan, open_inversions)
    jobs = jobs.read_ahead(aligned=args.aligned, all_faces=args.face != "largest")
    return jobs.run(open_inversions(args), overwrite=args.overwrite)


def open_inversions(args: Args) -> Maker:
    """Open the model of `sfe invert` and return what inverts with it."""
    editor = open_editor(args)
    settings = {
        **common_settings(args, editor),
        "codes": args.codes,
        "from_codes": args.from_codes and file_word(args.from_codes),
    }

    def make(job: Job) -> str:
        """Write both files and return the path of the inversion; a method's is no file."""
        from stylefeatureeditor.photo.result import EditResult
        from stylefeatureeditor.weights.code_files import save_codes
        from stylefeatureeditor.weights.inversion_file import save_inversion

        note = note_of(settings, job.photo)
        how = {"face": args.face, "aligned": args.aligned}
        photo = job.content or job.photo
        inversion = (
            editor.from_codes(args.from_codes, photo, **how)
            if args.from_codes
            else editor.invert(photo, **how)
        )
        editor.method.reconstruct(inversion)
        if args.codes:
            save_codes(inversion.codes.wplus, job.output.with_suffix(".npy"))
        assert inversion.pixels is not None
        drawn = EditResult(inversion.pixels, inversion)
        if inversion.features is None:
            return save_crops(drawn, job.output, note)
        file = save_inversion(inversion, job.output.with_suffix(INVERSION_SUFFIX))
        save_crops(drawn, job.output, note)
        return str(file)

    return Maker(settings, lambda jobs: ((job, job.attempt(make)) for job in jobs))
