# Train the teacher first: tools/train.py configs/locality_guidance/resnet-56_folder.py
_base_ = "./deit-ti_folder.py"

model = dict(
    type="smallvit.GuidedClassifier",
    guidance=dict(
        teacher=dict(
            model="smallvit::locality_guidance/resnet-56_folder.py",
            checkpoint="work_dirs/resnet-56_folder/epoch_100.pth",
        ),
        student_indices=(0, 6, 11),
    ),
)
