_base_ = "./dwnet-t_small-images_folder.py"

model = dict(backbone=dict(conv="dynamic"))
