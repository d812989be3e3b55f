_base_ = "./vit_classifier.py"

model = dict(backbone=dict(_delete_=True, type="smallvit.CaiT", arch="xxs12", img_size=224))
