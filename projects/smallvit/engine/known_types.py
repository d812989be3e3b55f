"""Allowlist of the types that a config stored in a checkpoint may name.

All of them only compute. With the arguments that :mod:`smallvit.engine.stored_config` accepts, no
constructor reads a file, downloads anything, executes a string or imports a name. Check the
constructor before adding a type.
"""

from __future__ import annotations

#: Registered names by the package that defines them.
MODELS: dict[str, str] = {
    "smallvit": """
        AugmentingPreprocessor CaiT CifarResNet CvT DHVT DWConvShortcut DWNet DistilledClsHead
        DynamicViT Margin MaxSoftmax MultiExitClassifier MultiExitHead NegativeEntropy
        PVT T2TViT TimmBackbone
    """,
    "mmpretrain": """
        ImageClassifier ClsDataPreprocessor
        BEiTViT Conformer ConvMixer ConvNeXt DaViT DeiT3 DenseNet DistilledVisionTransformer
        EdgeNeXt EfficientFormer EfficientNet EfficientNetV2 HRNet HiViT HorNet InceptionV3 LeViT
        MViT MixMIMTransformer MlpMixer MobileNetV2 MobileNetV3 MobileOne MobileViT PCPVT
        PoolFormer PyramidVig RegNet RepLKNet RepMLPNet RepVGG Res2Net ResNeSt ResNeXt ResNet
        ResNetV1c ResNetV1d ResNet_CIFAR RevVisionTransformer SEResNeXt SEResNet SVT ShuffleNetV1
        ShuffleNetV2 SwinTransformer SwinTransformerV2 T2T_ViT TNT TinyViT VAN VGG Vig
        VisionTransformer
        GeneralizedMeanPooling GlobalAveragePooling HRFuseScales
        ClsHead ConformerHead DeiTClsHead EfficientFormerClsHead LeViTClsHead LinearClsHead
        MultiLabelClsHead MultiLabelLinearClsHead StackedLinearClsHead VigClsHead
        VisionTransformerClsHead
        AsymmetricLoss CrossEntropyLoss FocalLoss LabelSmoothLoss
    """,
    "mmdet": """
        DetDataPreprocessor
        ATSS CascadeRCNN FCOS FasterRCNN GFL MaskRCNN RetinaNet SingleStageDetector
        ResNeSt ResNeXt ResNet ResNetV1d SSDVGG SwinTransformer PyramidVisionTransformer
        PyramidVisionTransformerV2
        ChannelMapper FPN PAFPN SSDNeck
        ATSSHead FCOSHead GFLHead RPNHead RetinaHead SSDHead
        CascadeRoIHead StandardRoIHead SingleRoIExtractor GenericRoIExtractor
        BBoxHead ConvFCBBoxHead Shared2FCBBoxHead Shared4Conv1FCBBoxHead FCNMaskHead
        AnchorGenerator SSDAnchorGenerator MlvlPointGenerator DeltaXYWHBBoxCoder
        DistancePointBBoxCoder
        CrossEntropyLoss DistributionFocalLoss FocalLoss GIoULoss IoULoss L1Loss QualityFocalLoss
        SmoothL1Loss
    """,
    "mmseg": """
        SegDataPreProcessor EncoderDecoder CascadeEncoderDecoder
        MixVisionTransformer PCPVT ResNeSt ResNeXt ResNet ResNetV1c ResNetV1d STDCNet SVT
        SwinTransformer UNet VisionTransformer BiSeNetV1 BiSeNetV2
        FPN Feature2Pyramid MLANeck MultiLevelNeck
        ASPPHead DepthwiseSeparableASPPHead DepthwiseSeparableFCNHead FCNHead FPNHead PSPHead
        PointHead SETRMLAHead SETRUPHead SegformerHead SegmenterMaskTransformerHead UPerHead
        CrossEntropyLoss DiceLoss FocalLoss LovaszLoss
    """,
}
#: Layer types of torch, MMCV and MMEngine that configs name.
LAYERS = """
    BN BN1d BN2d SyncBN GN LN LN2d IN GRN Conv Conv2d deconv nearest bilinear
    ReLU ReLU6 LeakyReLU PReLU GELU SiLU Sigmoid Tanh HSwish HSigmoid Swish Softmax QuickGELU
    Dropout DropPath RoIAlign
"""
#: Not registered types but names that MMCV looks up; it evaluates unknown ones as code.
WORDS = "nms soft_nms"
TRANSFORMS: dict[str, str] = {
    "smallvit": "LoadImageBands ToColor",
    "mmpretrain": "LoadImageFromFile Resize ResizeEdge CenterCrop Pad PackInputs",
    "mmdet": "LoadImageFromFile Resize FixShapeResize Pad PackDetInputs",
    "mmseg": "LoadImageFromFile Resize ResizeShortestEdge Pad PackSegInputs",
}
#: Scopes that a config may use as its default or in a type.
SCOPES = frozenset(MODELS)

_MODELS = {scope: frozenset(f"{names} {LAYERS} {WORDS}".split()) for scope, names in MODELS.items()}
_TRANSFORMS = {scope: frozenset(names.split()) for scope, names in TRANSFORMS.items()}
_INNER = (
    *("torch.nn.", "mmcv.cnn.", "mmcv.ops.", "timm.layers."),
    *("mmengine.model.", "mmengine.utils.dl_utils."),
)


def is_known_model(name: str, scope: str) -> bool:
    """Check whether a model type is in the allowlist.

    Args:
        name (str): The type, with or without its scope.
        scope (str): The default scope.

    Returns:
        bool: Whether the type is allowed.
    """
    return _is_in(_MODELS, name, scope)


def is_known_transform(name: str, scope: str) -> bool:
    """Check whether a transform type is in the allowlist; see :func:`is_known_model`."""
    return _is_in(_TRANSFORMS, name, scope)


def _is_in(table: dict[str, frozenset[str]], name: str, scope: str) -> bool:
    given, dot, rest = name.rpartition(".")
    return rest in table.get(given if dot else scope, ())


def is_known_object(found: object) -> bool:
    """Check whether an object found in a registry is in the allowlist, whatever its name.

    Args:
        found (object): A class or function.

    Returns:
        bool: Whether it is allowed, or a layer of torch, MMCV or MMEngine.
    """
    module = f"{getattr(found, '__module__', '')}."
    package = module.partition(".")[0]
    if module.startswith(_INNER):
        return True
    names = _OBJECTS.get(package, frozenset())
    return getattr(found, "__name__", "").rpartition(".")[2] in names


#: Types that the libraries build internally for those above; no config names them.
_BUILT_INSIDE = {
    "smallvit": "build_with_dw_shortcuts build_classifier build_distilled_head",
    "mmpretrain": "LayerNorm2d",
    "mmdet": "PseudoSampler MaxIoUAssigner RandomSampler BboxOverlaps2D",
    "mmseg": "",
}
_OBJECTS = {
    scope: _MODELS[scope] | _TRANSFORMS[scope] | frozenset(_BUILT_INSIDE[scope].split())
    for scope in MODELS
}
_OBJECTS["mmcv"] = frozenset(["LoadImageFromFile", "Resize", "CenterCrop", "Pad"])
