# A CNN guides the blocks of the last exit (block indices run over all exits).
_base_ = "./dvt-mini_digits.py"

model = dict(
    type="smallvit.GuidedClassifier",
    base="smallvit.MultiExitClassifier",
    guidance=dict(
        teacher=dict(
            model="smallvit::locality_guidance/resnet-20_digits.py",
            checkpoint="work_dirs/resnet-20_digits/epoch_20.pth",
        ),
        student_indices=(6, 7, 8),
    ),
)
