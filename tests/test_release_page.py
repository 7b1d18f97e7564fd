"""docs/release.md: every option of the release has its flag here, which exists, or a reason."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stylefeatureeditor.cli.main import main

PAGE = Path(__file__).parents[1] / "docs" / "release.md"
LOSSES = "l2 lpips lpips_scale id moco adv feat_rec feat_rec_l1 l2_latent id_vit"
RUN = "resume_path start_step steps log_step checkpoint_step val_step"
ADVERSARY = "train_dis dis_train_start_step bs_used_before_adv_loss disc_edits val_metrics"
OPTIONS = {  # of each script, in the release's words
    "simple_inference.py": "orig_img_pth editing_name edited_power save_pth align "
    "use_mask mask_trashold mask_path styleclip_global_NEUTRAL_TARGET_BETA "
    "deltaedit_NEUTRAL_TARGET_THRESHOLD",
    "inference.py": "exp.config_dir exp.config exp.output_dir exp.seed exp.root exp.domain "
    "exp.wandb data.inference_dir data.transform inference.inference_runner "
    "inference.editings_data model.method model.device model.batch_size model.workers "
    "model.checkpoint_path methods_args",
    "train.py": "exp.config_dir exp.config exp.exp_dir exp.name exp.seed exp.root exp.domain "
    "exp.wandb exp.wandb_project data.special_dir data.transform data.input_train_dir "
    "data.input_val_dir model.method model.device model.batch_size model.workers "
    "model.checkpoint_path disc_losses "
    "optimizers methods_args.fse_full.inverter_pth "
    + " ".join(
        f"train.{name}"
        for name in f"train_runner encoder_optimizer disc_optimizer {RUN} {ADVERSARY}".split()
    )
    + " "
    + " ".join(f"encoder_losses.{name}" for name in LOSSES.split()),
    "calculate_metrics.py": "metrics orig_path reconstr_path batch_size workers "
    "metrics_dir synt_path attr_name attr_is_reversed celeba_attr_table_pth transforms",
}


def rows():
    """(script, options, what stands for them, notes) of each line of the tables."""
    script = ""
    for line in PAGE.read_text("utf-8").splitlines():
        if line.startswith("## "):
            script = re.findall(r"`(\S+)`", line)[0]
        elif line.startswith("| `"):
            names, here, notes = line.strip("|").split(" | ")
            yield script, re.findall(r"`(\S+)`", names), here.strip(), notes.strip(" |")


@pytest.mark.parametrize("script", OPTIONS)
def test_every_option_of_the_release_has_its_row(script):
    named = [name for row in rows() if row[0] == script for name in row[1]]
    assert sorted(named) == sorted(OPTIONS[script].split())


def test_every_row_names_flags_that_exist_or_says_why_not(capsys):
    helps = {}
    for _, names, here, notes in rows():
        commands = re.findall(r"`sfe ([^`]+)`", here)
        assert commands or (here == "none" and notes), names
        for words in commands:
            *command, flag = words.split()
            if " ".join(command) not in helps:
                assert main([*command, "--help"]) == 0
                helps[" ".join(command)] = capsys.readouterr().out
            shown = re.escape(flag)
            assert re.search(rf"(?<![\w-]){shown}(?![\w.-])", helps[" ".join(command)]), words
