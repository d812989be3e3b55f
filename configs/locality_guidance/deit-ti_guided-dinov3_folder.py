# Precompute its features first, as in deit-ti_guided-dinov2_folder.py.
_base_ = "./deit-ti_guided-dinov2_folder.py"

model = dict(
    guidance=dict(
        teacher=dict(model=dict(model_name="vit_small_patch16_dinov3.lvd1689m")),
        store="data/teacher_features/dinov3_folder",
    )
)
