"""What the paper reports, to stand beside what is run here.

Table 1 and 2 of Bobkov et al. 2024: CelebA-HQ test set; seconds per edit on a V100. Edits are FID,
smile removed, glasses added, age added. They are reports, not results of this code: dataset, size
and hardware are theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

COLUMNS = ("lpips", "l2", "fid", "ms_ssim", "smile-", "glasses+", "old+", "seconds")
ABLATION_COLUMNS = ("lpips", "l2", "fid", "smile-", "old+")
CARS_COLUMNS = ("lpips", "l2", "fid")


@dataclass(frozen=True)
class Reported:
    """One row of a table of the paper.

    Attributes:
        method: its name there.
        values: number by column.
    """

    method: str
    values: dict[str, float]


def _rows(columns: tuple[str, ...], text: str) -> tuple[Reported, ...]:
    rows = []
    for line in text.strip().splitlines():
        name, *cells = (cell.strip() for cell in line.split("|"))
        values = map(float, cells[0].split())
        rows.append(Reported(name, dict(zip(columns, values, strict=True))))
    return tuple(rows)


FACES = _rows(
    COLUMNS,
    """
    e4e              | .199 .047 28.97 .625 51.2 119.4 68.5 .034
    pSp              | .161 .034 25.16 .651 46.2 105.7 67.5 .034
    StyleTransformer | .158 .034 22.81 .656 32.9 81.0 67.3 .032
    ReStyle          | .130 .028 20.66 .669 36.4 87.4 56.0 .138
    Padding Inverter | .124 .023 25.75 .672 42.3 98.7 62.3 .034
    HyperInverter    | .105 .024 16.82 .673 41.2 93.7 65.3 .105
    HyperStyle       | .098 .022 20.73 .700 34.6 86.8 49.3 .275
    HFGI             | .117 .021 15.69 .721 27.2 77.2 51.5 .072
    Feature-Style    | .067 .012 10.86 .758 26.0 85.7 56.1 .038
    StyleRes         | .076 .013 8.51 .797 24.5 73.1 43.7 .063
    PTI              | .085 .008 14.47 .781 28.3 78.1 44.9 124
    SFE              | .019 .002 3.54 .922 24.4 73.1 41.7 .070
    """,
)

CARS = _rows(
    CARS_COLUMNS,
    """
    e4e              | .325 .122 13.40
    ReStyle          | .306 .102 13.01
    StyleTransformer | .276 .092 10.64
    HyperStyle       | .287 .080 8.04
    Feature-Style    | .147 .045 7.18
    SFE              | .039 .004 4.04
    """,
)

ABLATIONS = _rows(
    ABLATION_COLUMNS,
    """
    SFE                         | .019 .0017 3.54 24.4 41.7
    SFE without H               | .016 .0013 2.98 28.1 54.6
    SFE without Fuser           | .023 .0019 4.24 26.4 42.1
    SFE without inversion loss  | .037 .0027 5.10 26.2 42.4
    SFE without E               | .021 .0024 3.83 24.9 44.4
    SFE with F_5 instead of F_9 | .064 .0089 7.92 25.9 43.3
    SFE with D_small            | .021 .0019 3.84 24.5 42.3
    """,
)
