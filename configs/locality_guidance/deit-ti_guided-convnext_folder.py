# Precompute its features first, as in deit-ti_guided-dinov2_folder.py.
_base_ = "./deit-ti_guided-dinov2_folder.py"

model = dict(
    guidance=dict(
        teacher=dict(
            model=dict(
                _delete_=True,
                type="smallvit.TimmBackbone",
                model_name="convnext_tiny.fb_in22k",
                pretrained=True,
            ),
            stages=(1, 2, 3),
        ),
        student_indices=(0, 6, 11),
        store="data/teacher_features/convnext_folder",
    )
)
