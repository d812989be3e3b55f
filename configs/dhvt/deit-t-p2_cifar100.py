_base_ = "./dhvt-t-p2_cifar100.py"

# DHVT with its components disabled and the position embedding enabled is DeiT.
model = dict(
    backbone=dict(
        with_sope=False,
        with_daff=False,
        with_head_tokens=False,
        with_pos_embed=True,
        img_size=32,
    )
)
