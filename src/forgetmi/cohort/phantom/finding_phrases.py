"""What reports of generated patients say of each finding: that it is there, may be there, or is not."""

from __future__ import annotations

from typing import NamedTuple


class Phrases(NamedTuple):
    """Sentences about one finding."""

    present: tuple[str, ...]
    uncertain: tuple[str, ...]
    absent: tuple[str, ...]


PHRASES: dict[str, Phrases] = {
    "Atelectasis": Phrases(
        ("Linear basilar atelectasis.", "Platelike atelectasis at the lung base."),
        ("Basilar opacity may reflect atelectasis.",),
        ("No atelectasis.",),
    ),
    "Cardiomegaly": Phrases(
        ("The heart is enlarged.", "Moderate cardiomegaly."),
        ("The heart may be mildly enlarged.",),
        ("Heart size is normal.", "No cardiomegaly."),
    ),
    "Consolidation": Phrases(
        ("Focal consolidation is present.", "Dense consolidation in one lung."),
        ("Possible early consolidation.",),
        ("No focal consolidation.", "Lungs are without consolidation."),
    ),
    "Edema": Phrases(
        ("Interstitial pulmonary edema.", "Vascular congestion with edema."),
        ("Mild edema cannot be excluded.",),
        ("No pulmonary edema.", "No overt edema."),
    ),
    "Enlarged Cardiomediastinum": Phrases(
        ("The mediastinum is widened.", "Widening of the cardiomediastinal silhouette."),
        ("The mediastinum appears borderline wide.",),
        ("The mediastinal contours are normal.",),
    ),
    "Fracture": Phrases(
        ("There is a rib fracture.", "Fracture of a lateral rib."),
        ("A rib contour may represent a fracture.",),
        ("No fracture is seen.",),
    ),
    "Lung Lesion": Phrases(
        ("A pulmonary nodule is seen.", "Solitary lung nodule."),
        ("A nodular density may be a lesion.",),
        ("No pulmonary nodule.",),
    ),
    "Pleural Effusion": Phrases(
        ("Pleural effusion is present.", "Layering pleural effusions."),
        ("A small effusion is possible.",),
        ("No pleural effusion.", "Costophrenic angles are sharp."),
    ),
    "Pleural Other": Phrases(
        ("Pleural thickening along the chest wall.", "Chronic pleural thickening."),
        ("Possible pleural thickening.",),
        ("No pleural thickening.",),
    ),
    "Pneumonia": Phrases(
        ("Findings of pneumonia.", "Patchy opacity consistent with pneumonia."),
        ("Developing pneumonia is possible.",),
        ("No evidence of pneumonia.",),
    ),
    "Pneumothorax": Phrases(
        ("There is a pneumothorax.", "Apical pneumothorax."),
        ("A tiny pneumothorax cannot be excluded.",),
        ("No pneumothorax.",),
    ),
    "Support Devices": Phrases(
        ("Support devices are in place.", "Chest port and pacemaker leads are unchanged."),
        ("A line may project over the chest.",),
        ("No lines or tubes.",),
    ),
}
NORMAL = ("Normal chest film.", "No acute finding.")
