# DWNet-T for 32x32 images.
network = dict(type="smallvit.DWNet", arch="tiny", img_size=32, drop_path_rate=0.2)
