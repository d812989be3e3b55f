# Guidance of a student; train the teacher first with this config.
guidance = dict(
    type="smallvit.LocalityGuidance",
    teacher=dict(
        model="smallvit::locality_guidance/resnet-56_chaoyang.py",
        checkpoint="work_dirs/resnet-56_chaoyang/epoch_300.pth",
        size=32,
        stages=(0, 1, 2),
        # In the official code, the teacher is in training mode.
        batch_statistics=True,
    ),
    student_indices=(0, 6, 11),
    loss_weight=2.5,
)
