_base_ = "./dhvt-t-p4_ablation_cifar100.py"

model = dict(
    backbone=dict(with_daff=False, with_head_tokens=False, with_pos_embed=True, img_size=32)
)
