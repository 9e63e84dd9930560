"""Every choice of `body-region` in one place: what it sees, how it is trained, what it is for."""

from __future__ import annotations

from MedImgClassifierLib.engine.preprocess import (
    ChannelSpec,
    Clip,
    InputSpec,
    Orient,
    Pad,
    Percentile,
    Resize,
    Window,
    ZScore,
)
from MedImgClassifierLib.engine.result import Code, Label

from ..augment import StrongAugment
from ..recipe import Recipe
from .data import CLASSES

# CT in HU is cut at water: the CT images of MedNIST show everything below about 0 HU in the grey of air. The lower
# percentile takes away what grey offset an exported picture has, which by itself gives MedNIST's CT classes away.
SPEC = InputSpec(
    channels=(ChannelSpec("image", ("CT", "MR", "CR", "DX", "RF", "XA", "MG", "OT", "SC"), ("HU", "arbitrary")),),
    geometry=(Orient(), Pad(), Resize(64, 64)),
    intensity=(
        Clip(-1024, 3071, "HU"),
        Window(center=100, width=200, units="HU"),
        Percentile(5, 99.5),
        ZScore(0.3, 0.3),
    ),
)

AUGMENT = StrongAugment()

RECIPE = Recipe.of(
    "adamw",
    "narrow_resnet",
    learning_rate=0.002,
    epochs=40,
    batch=64,
    images_per_class=900,
    label_smoothing=0.05,
    amp="bfloat16",
    ema_decay=0.998,
    augmentation=repr(AUGMENT),
)

_CODES = {
    "AbdomenCT": Code("SCT", "113345001", "Abdomen"),
    "BreastMR": Code("SCT", "76752008", "Breast"),
    "ChestXR": Code("SCT", "51185008", "Chest"),
    "ChestCT": Code("SCT", "51185008", "Chest"),
    "HandXR": Code("SCT", "85562004", "Hand"),
    "HeadCT": Code("SCT", "69536005", "Head"),
    "BrainMR": Code("SCT", "12738006", "Brain"),
}
LABELS = tuple(Label(name, _CODES[name]) for name in CLASSES)

IDENTITY = {
    "id": "body-region",
    "version": "1.1.0",
    "title": "Body region and modality of a slice",
    "intended_use": "Sorting series by body region and modality, and a teaching example.",
    "out_of_scope": [
        "diagnosis or any decision about a patient",
        "regions, modalities and contrasts other than the seven classes: it has no class for 'none of these'",
    ],
    "licence": "CC-BY-SA-4.0",
    "credits": [
        {
            "what": "MedNIST images (a subset, 64 x 64)",
            "who": "Dr. Bradley J. Erickson, Department of Radiology, Mayo Clinic; gathered from TCIA, the RSNA Bone "
            "Age Challenge and the NIH Chest X-ray dataset",
            "licence": "CC BY-SA 4.0, as stated by the MONAI project",
        },
        {
            "what": "IXI T1-weighted brain MR (Hammersmith Hospital, resampled to 2.5 mm)",
            "who": "IXI dataset, brain-development.org; resampled copies of the NiChart project",
            "licence": "CC BY-SA 3.0",
        },
    ],
    "known_limits": [
        "Every slice gets one of seven classes; a slice of anything else gets a wrong one, often a sure one.",
        "Each class comes from one source, so that source and class cannot be told apart in training.",
        "CT in HU is cut at 0 HU and 200 HU: lung, fat and air look alike to it, whatever window is on the screen. "
        "Pictures exported in a lung window show what training never saw.",
        "Probabilities are uncalibrated.",
    ],
}
