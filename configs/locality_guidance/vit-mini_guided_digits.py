_base_ = "../dw_shortcut/vit-mini_digits.py"

model = dict(
    type="smallvit.GuidedClassifier",
    guidance=dict(
        teacher=dict(
            model="smallvit::locality_guidance/resnet-20_digits.py",
            checkpoint="work_dirs/resnet-20_digits/epoch_20.pth",
        ),
        student_indices=(0.0, 0.5, 1.0),
    ),
)
