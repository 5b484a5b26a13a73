"""The sentences that generated reports are put together from.

The order of the sentences is part of the generator: another order makes other reports from the same seed.
"""

from __future__ import annotations

# How the film was taken
STANDING = (
    "PA chest radiograph",
    "Chest, PA view",
    "Frontal chest film, upright",
    "Chest, PA and lateral",
)
BEDSIDE = (
    "Portable AP chest",
    "AP chest radiograph, bedside",
    "Chest, single AP view",
    "Portable chest film",
)
# Why it was taken: lasting illness and present symptom
HISTORY = (
    "COPD",
    "heart failure",
    "coronary disease",
    "prior bypass surgery",
    "hypertension",
    "diabetes",
    "renal failure",
    "atrial fibrillation",
    "lung cancer",
    "cirrhosis",
    "breast cancer",
    "prior stroke",
    "sarcoidosis",
    "asthma",
    "aortic stenosis",
    "mitral regurgitation",
    "lymphoma",
    "HIV",
    "sleep apnea",
    "pulmonary hypertension",
    "chronic dialysis",
    "peripheral vascular disease",
    "rheumatoid arthritis",
    "heart transplant",
    "obesity",
    "ischemic cardiomyopathy",
    "tobacco use",
    "anemia",
    "dementia",
    "liver transplant",
)
SYMPTOM = (
    "dyspnea",
    "cough",
    "chest pain",
    "fever",
    "hypoxia",
    "shortness of breath",
    "weakness",
    "wheezing",
    "leg swelling",
    "tachycardia",
    "altered mental status",
    "a fall",
    "increased oxygen requirement",
    "preoperative assessment",
)
# What it is compared with: a first film, and a later one
FIRST = ("None.", "None available.", "No prior films.")
LATER = (
    "Prior chest radiograph.",
    "Previous film.",
    "Recent prior study.",
    "Multiple prior films.",
)

# Heart size: normal, borderline, enlarged
CARDIAC = (
    (
        "Heart size is normal.",
        "Normal cardiac silhouette.",
        "The cardiomediastinal contours are unremarkable.",
    ),
    (
        "Heart size is top normal.",
        "Borderline cardiac enlargement.",
        "The heart is at the upper limits of normal.",
    ),
    (
        "The heart is enlarged.",
        "Stable cardiomegaly.",
        "Moderate enlargement of the cardiac silhouette.",
    ),
)
# Normal findings that fill a report
PLAIN = (
    "No rib fracture is seen.",
    "The bony thorax is intact.",
    "No acute osseous abnormality.",
    "Mediastinal contours are stable.",
)

# Findings that name the grade of edema, by grade
SIGNS: tuple[tuple[str, ...], ...] = (
    (
        "The lungs are clear.",
        "Lungs are well aerated without vascular engorgement.",
        "No interstitial or alveolar process.",
        "Pulmonary vasculature is normal.",
    ),
    (
        "Upper zone vessels are prominent.",
        "There is cephalization of the pulmonary vessels.",
        "The hila are mildly engorged.",
        "Pulmonary vascular redistribution is present.",
    ),
    (
        "Kerley lines are seen at both bases.",
        "Interstitial markings are thickened.",
        "There are septal lines and peribronchial cuffing.",
        "Diffuse interstitial opacities are present.",
    ),
    (
        "Perihilar airspace opacities are present.",
        "Bilateral alveolar infiltrates with small effusions.",
        "There are confluent opacities in a batwing pattern.",
        "Dense central consolidation with pleural fluid.",
    ),
)
# Impressions that name the grade, by grade
VERDICTS: tuple[tuple[str, ...], ...] = (
    (
        "No pulmonary edema.",
        "No acute cardiopulmonary process.",
        "No evidence of fluid overload.",
        "No vascular congestion.",
    ),
    (
        "Mild pulmonary vascular congestion.",
        "Vascular congestion without overt edema.",
        "Mild fluid overload.",
    ),
    (
        "Interstitial pulmonary edema.",
        "Moderate interstitial edema.",
        "Findings of interstitial edema.",
    ),
    (
        "Severe pulmonary edema.",
        "Alveolar pulmonary edema.",
        "Florid pulmonary edema with effusions.",
    ),
)
# Findings that two neighbouring grades share, by the lower of the two
VAGUE_SIGNS: tuple[tuple[str, ...], ...] = (
    (
        "Vessels appear minimally prominent, perhaps from low volumes.",
        "Vascular markings are difficult to assess.",
        "Lung volumes are low with crowding of vessels.",
    ),
    (
        "Vascular markings are indistinct.",
        "There is mild prominence of lung markings.",
        "Perihilar haziness is noted.",
    ),
    (
        "Increased opacity at both lung bases.",
        "Bilateral hazy opacities are present.",
        "Lung markings are diffusely increased.",
    ),
)
# Impressions that two neighbouring grades share, by the lower of the two
VAGUE_VERDICTS: tuple[tuple[str, ...], ...] = (
    ("Possible minimal congestion.", "No definite edema.", "Congestion cannot be excluded."),
    (
        "Mild edema is possible.",
        "Congestion, perhaps early edema.",
        "Suspect mild volume overload.",
    ),
    (
        "Pulmonary edema.",
        "At least moderate edema suspected.",
        "Findings likely reflect worsening edema.",
    ),
)
# The same for causes instead of grades
CAUSE_SIGNS: tuple[tuple[str, ...], ...] = (
    (
        "Vascular redistribution with perihilar haze.",
        "Septal lines and engorged hila are present.",
        "Interstitial markings are thickened with cephalization.",
    ),
    (
        "There is a focal airspace opacity.",
        "Patchy consolidation with air bronchograms.",
        "A segmental opacity has developed.",
    ),
    (
        "There is blunting of the costophrenic angle.",
        "Layering pleural fluid with a meniscus.",
        "Basal opacity consistent with fluid.",
    ),
    (
        "A visceral pleural line is visible.",
        "There is apical lucency without lung markings.",
        "Air is seen in the pleural space.",
    ),
)
CAUSE_NAMES = ("Pulmonary edema", "Pneumonia", "Pleural effusion", "Pneumothorax")
CAUSE_VERDICTS = ("{}.", "Findings consistent with {}.", "New {}.", "{}, follow up advised.")
VAGUE_CAUSES = (
    "Nonspecific change on one side.",
    "The lung fields are partly obscured.",
    "Subtle abnormality is noted.",
)
