"""What every refusal says: its code, what happened and what to do about it, in English and Chinese."""

from __future__ import annotations

from typing import NamedTuple


class RefusalText(NamedTuple):
    """One line in two languages; names in braces are facts of the Refusal."""

    what: str
    advice: str
    what_zh: str
    advice_zh: str


TEXTS = {
    # --- how it was called
    "USAGE_BUNDLE_UNKNOWN": RefusalText(
        "no bundle named '{name}' (known: {known})",
        "name one of these or give the path of a bundle folder",
        "没有名为“{name}”的模型包（已知：{known}）",
        "请使用其中之一，或给出模型包文件夹的路径",
    ),
    "USAGE_OUTPUT_NOT_WRITABLE": RefusalText(
        "cannot write to '{path}': {reason}",
        "choose another --out folder",
        "无法写入“{path}”：{reason}",
        "请另选 --out 输出文件夹",
    ),
    "USAGE_PLAN_CHOICE": RefusalText(
        "the choice {name} cannot be {value}",
        "give {allowed}",
        "选项 {name} 不能是 {value}",
        "请给出 {allowed}",
    ),
    "USAGE_DEVICE_MISSING": RefusalText(
        "device '{device}' is not available here: {reason}",
        "use --device auto, or run `medimg doctor` to see what is",
        "此处没有设备“{device}”：{reason}",
        "请使用 --device auto，或运行 `medimg doctor` 查看可用设备",
    ),
    "USAGE_PRECISION_REFUSED": RefusalText(
        "bundle '{bundle}' may not be used in {precision} here: {reason}",
        "use --precision float32",
        "此处不可对模型包“{bundle}”使用 {precision}：{reason}",
        "请使用 --precision float32",
    ),
    "USAGE_RUNTIME": RefusalText(
        "{runtime} cannot run bundle '{bundle}' here: {reason}",
        "use --runtime auto and --device auto, or run `medimg doctor` to see what there is",
        "{runtime} 无法在此运行模型包“{bundle}”：{reason}",
        "请使用 --runtime auto 和 --device auto，或运行 `medimg doctor` 查看可用项",
    ),
    "USAGE_NETWORK_SIZE": RefusalText(
        "network '{network}' cannot be trained on {rows} x {columns} pixels in batches of {batch} ({reason})",
        "use a larger --size or --batch, or another --network",
        "网络“{network}”无法以 {rows} x {columns} 像素、批量 {batch} 进行训练（{reason}）",
        "请增大 --size 或 --batch，或改用其他 --network",
    ),
    "USAGE_RECIPE": RefusalText(
        "these choices do not go together: {reason}",
        "change one of them; `medimg train --help` says what each is",
        "这些选项不能同时使用：{reason}",
        "请更改其中之一；`medimg train --help` 说明了各选项的含义",
    ),
    "USAGE_KIT_TARGET": RefusalText(
        "no offline kit can be made for '{what}'",
        "give one of: {known}",
        "无法为“{what}”制作离线安装包",
        "请使用其中之一：{known}",
    ),
    "USAGE_FILE_NOT_WRITTEN": RefusalText(
        "cannot write '{path}': {reason}",
        "choose another place, or free space there",
        "无法写入“{path}”：{reason}",
        "请另选位置，或释放其空间",
    ),
    "USAGE_BUNDLE_SHIPPED": RefusalText(
        "bundle '{name}' came with MedImgClassifier and is not removed",
        "choose another one in the list",
        "模型包“{name}”随 MedImgClassifier 提供，不能移除",
        "请在列表中选择其他模型包",
    ),
    "USAGE_PORT": RefusalText(
        "port {port} of 127.0.0.1 cannot be used: {reason}",
        "choose another with --port, or leave it out for any that is free",
        "无法使用 127.0.0.1 的端口 {port}：{reason}",
        "请用 --port 选择其他端口，或省略该选项以使用任意空闲端口",
    ),
    "USAGE_NO_RESULT": RefusalText(
        "there is no result yet", "classify a volume first", "尚无结果", "请先对一个体数据进行分类"
    ),
    "USAGE_VIEWER_BUSY": RefusalText(
        "the viewer is at work", "wait for its end, or cancel it", "查看器正在工作", "请等待其结束，或将其取消"
    ),
    "USAGE_UPLOAD_TOO_LARGE": RefusalText(
        "more than {limit} GB were sent at once",
        "send the slices of one series only",
        "一次发送的数据超过 {limit} GB",
        "请只发送一个序列的切片",
    ),
    "USAGE_UPLOAD_TOO_MANY": RefusalText(
        "more than {limit} files were sent at once",
        "send the slices of one series only",
        "一次发送的文件超过 {limit} 个",
        "请只发送一个序列的切片",
    ),
    "USAGE_UPLOAD_BROKEN": RefusalText(
        "the files did not arrive whole ({reason})", "send them again", "文件未完整送达（{reason}）", "请重新发送"
    ),
    "USAGE_UPLOAD_SILENT": RefusalText(
        "nothing more of the files arrived for {seconds} s",
        "send them again",
        "{seconds} 秒内未收到后续数据",
        "请重新发送",
    ),
    "USAGE_UPLOAD_EMPTY": RefusalText(
        "no file was sent", "choose a file or a folder and send it", "未发送任何文件", "请选择文件或文件夹后发送"
    ),
    "USAGE_UPLOAD_BUSY": RefusalText(
        "other files are still being received",
        "wait until they have arrived and try again",
        "正在接收其他文件",
        "请等待其接收完成后重试",
    ),
    # --- what was to be classified
    "INPUT_NOT_FOUND": RefusalText(
        "'{path}' does not exist", "check the path", "“{path}”不存在", "请检查路径"
    ),
    "INPUT_EMPTY_FOLDER": RefusalText(
        "folder '{path}' holds no DICOM image",
        "point at the folder that holds the slices of one series",
        "文件夹“{path}”中没有 DICOM 图像",
        "请指向包含一个序列切片的文件夹",
    ),
    "INPUT_SEVERAL_SERIES": RefusalText(
        "folder '{path}' holds {count} series: {listing}",
        "choose one with --series UID",
        "文件夹“{path}”包含 {count} 个序列：{listing}",
        "请用 --series UID 选择一个",
    ),
    "INPUT_SERIES_UNKNOWN": RefusalText(
        "no series '{series}' in '{path}' (there: {listing})",
        "choose one of these with --series UID",
        "“{path}”中没有序列“{series}”（现有：{listing}）",
        "请用 --series UID 选择其中之一",
    ),
    "INPUT_NOT_AN_IMAGE": RefusalText(
        "'{path}' is not an image that can be read ({reason})",
        "give a DICOM folder or file, .nii, .nii.gz, .nrrd, .mha, .mhd, .png or .jpg",
        "“{path}”不是可读取的图像（{reason}）",
        "请提供 DICOM 文件夹或文件、.nii、.nii.gz、.nrrd、.mha、.mhd、.png 或 .jpg",
    ),
    "INPUT_ARCHIVE": RefusalText(
        "the zip '{path}' cannot be used: {reason}",
        "make it again as a plain zip of the DICOM files of one study, or of one image",
        "无法使用压缩包“{path}”：{reason}",
        "请重新制作普通的 zip 压缩包，其中仅含一次检查的 DICOM 文件或一个图像",
    ),
    "INPUT_DIMENSIONS": RefusalText(
        "'{path}' has shape {shape}, not one 3-D volume or 2-D image of one channel",
        "extract one frame or channel first",
        "“{path}”的形状为 {shape}，不是单通道的三维体或二维图像",
        "请先提取单个时相或通道",
    ),
    "INPUT_GREY": RefusalText(
        "'{path}' is a grey image where a colour image (RGB) is asked for",
        "choose a model for grey images, or give the image in colour",
        "“{path}”是灰度图像，而此处需要彩色（RGB）图像",
        "请选择适用于灰度图像的模型，或提供彩色图像",
    ),
    "INPUT_TRUNCATED": RefusalText(
        "'{path}' is incomplete: {expected} bytes of voxels expected, {found} found",
        "copy or export it again",
        "“{path}”不完整：应有 {expected} 字节体素数据，实有 {found}",
        "请重新复制或导出",
    ),
    "INPUT_GEOMETRY": RefusalText(
        "'{path}' has no usable geometry: {reason}",
        "repair the header or export the series again",
        "“{path}”的几何信息不可用：{reason}",
        "请修复文件头或重新导出该序列",
    ),
    "INPUT_DUPLICATE_POSITION": RefusalText(
        "series in '{path}' has several slices at the same position ({listing})",
        "keep one acquisition or time point per folder",
        "“{path}”的序列在同一位置有多个切片（{listing}）",
        "每个文件夹只保留一次采集或一个时相",
    ),
    "INPUT_VALUES": RefusalText(
        "'{path}' holds unusable voxel values: {reason}",
        "repair or export it again",
        "“{path}”的体素值不可用：{reason}",
        "请修复或重新导出",
    ),
    "INPUT_COMPRESSION": RefusalText(
        "'{path}' is compressed as {syntax}, which cannot be decoded here",
        "export it uncompressed or as JPEG 2000",
        "“{path}”采用 {syntax} 压缩，此处无法解码",
        "请以未压缩或 JPEG 2000 格式重新导出",
    ),
    "INPUT_MODALITY": RefusalText(
        "bundle '{bundle}' expects {expected}, this input is {found}",
        "choose a bundle made for {found}",
        "模型包“{bundle}”需要 {expected}，而输入是 {found}",
        "请选择适用于 {found} 的模型包",
    ),
    "INPUT_NOT_ALLOWED": RefusalText(
        "'{path}' points outside itself ({reason})",
        "put header and voxels into one file",
        "“{path}”指向文件之外（{reason}）",
        "请将文件头与体素保存在同一文件中",
    ),
    "INPUT_RESTRICTION": RefusalText(
        "'{name}' cannot say which slices to classify: {reason}",
        "choose or draw another region or segment, or classify the whole volume",
        "“{name}”无法说明要分类哪些切片：{reason}",
        "请选择或绘制其他区域或分割，或对整个体数据分类",
    ),
    "INPUT_NO_EVIDENCE": RefusalText(
        "no evidence for {labels} reaches {percent} % of the case's largest",
        "choose a lower threshold or another class",
        "{labels} 的证据均未达到该病例最大值的 {percent} %",
        "请降低阈值或选择其他类别",
    ),
    "INPUT_CHANGING": RefusalText(
        "'{path}' was changed again and again while it was being copied",
        "classify when nothing edits it any more",
        "“{path}”在复制过程中一再被修改",
        "请在不再编辑该体数据后再进行分类",
    ),
    "INPUT_KIT": RefusalText(
        "'{path}' is not a sound offline kit: {reason}",
        "copy it again, or make it again with `medimg kit`",
        "“{path}”不是完好的离线安装包：{reason}",
        "请重新复制，或用 `medimg kit` 重新制作",
    ),
    "INPUT_KIT_MISFIT": RefusalText(
        "the offline kit '{path}' is for {made_for}, here is {here}",
        "make one for this computer with `medimg kit --platform ... --python ...`",
        "离线安装包“{path}”适用于 {made_for}，而此处为 {here}",
        "请用 `medimg kit --platform ... --python ...` 为此计算机制作",
    ),
    "INPUT_KIT_LACKS": RefusalText(
        "the offline kit lacks a library that is needed here ({reason})",
        "make it again with `medimg kit` of the version of MedImgClassifier that is used here",
        "离线安装包缺少此处所需的库（{reason}）",
        "请用与此处相同版本的 MedImgClassifier 通过 `medimg kit` 重新制作",
    ),
    "INPUT_KIT_BUNDLE": RefusalText(
        "the libraries of the offline kit are installed, but its bundle '{name}' was not taken in: {reason}",
        "classify with another bundle, or get this one again from its maker",
        "离线安装包中的库已安装，但未导入其中的模型包“{name}”：{reason}",
        "请使用其他模型包进行分类，或向制作者重新获取该模型包",
    ),
    # --- labelled data for training
    "DATA_MANIFEST": RefusalText(
        "manifest '{path}', {where}: {reason}",
        "correct the manifest",
        "清单“{path}”，{where}：{reason}",
        "请修正清单",
    ),
    "DATA_SOURCE": RefusalText(
        "no manifest can be made of '{path}', {where}: {reason}",
        "correct the data or the options",
        "无法由“{path}”生成清单，{where}：{reason}",
        "请修正数据或选项",
    ),
    "DATA_GROUPS": RefusalText(
        "nothing says which images of '{path}' belong to one patient (or scene, or source image): {reason}",
        "give {options}; or, if the images have nothing in common, say why with --no-groups REASON, which is recorded",
        "无法得知“{path}”中哪些图像属于同一患者（或同一场景、同一来源图像）：{reason}",
        "请给出 {options}；若各图像互不相关，请用 --no-groups 说明理由（理由将被记录）",
    ),
    "DATA_KEY": RefusalText(
        "the key for pseudonyms '{path}' cannot be used: {reason}",
        "correct that, or name another folder with --private",
        "无法使用假名密钥“{path}”：{reason}",
        "请修正该问题，或用 --private 另选文件夹",
    ),
    "DATA_ARCHIVE": RefusalText(
        "'{path}' is not the official archive: {reason}",
        "get it again, from the official site",
        "“{path}”不是官方压缩包：{reason}",
        "请从官方网站重新获取",
    ),
    "DATA_DOWNLOAD": RefusalText(
        "'{url}' could not be downloaded: {reason}",
        "try again, or get the file in another way and name it with --archive",
        "无法下载“{url}”：{reason}",
        "请重试，或以其他方式获取文件并用 --archive 指定",
    ),
    "DATA_SPLIT": RefusalText(
        "the split cannot be made or used: {reason}",
        "correct the groups or the request",
        "无法划分数据：{reason}",
        "请修正分组或请求",
    ),
    "DATA_PLAN": RefusalText(
        "plan '{path}' cannot be used: {reason}",
        "correct it, or make another with `medimg plan`",
        "无法使用训练计划“{path}”：{reason}",
        "请修正，或用 `medimg plan` 重新生成",
    ),
    "DATA_CHECKPOINT": RefusalText(
        "checkpoint '{path}' cannot be used: {reason}",
        "start in a new folder, or repeat with the settings it was made with",
        "无法使用检查点“{path}”：{reason}",
        "请使用新文件夹，或使用生成它时的设置",
    ),
    "DATA_WEIGHTS": RefusalText(
        "pretrained weights '{path}' cannot be used: {reason}",
        "check the file or its address",
        "无法使用预训练权重“{path}”：{reason}",
        "请检查文件或其地址",
    ),
    "DATA_WEIGHTS_ABSENT": RefusalText(
        "pretrained weights '{path}' are not here and cannot be downloaded: {reason}",
        "give a file of them, or try again where there is a network; or train from --pretrained random",
        "本机没有预训练权重“{path}”，也无法下载：{reason}",
        "请指定权重文件，或在有网络时重试；也可用 --pretrained random 训练",
    ),
    "DATA_DIVERGED": RefusalText(
        "training diverged in epoch {epoch}: the loss or a weight is not a finite number",
        "lower --learning-rate, limit the gradient with --clip-norm, or use --amp off",
        "训练在第 {epoch} 轮发散：损失或权重不是有限数值",
        "请降低 --learning-rate，用 --clip-norm 限制梯度，或使用 --amp off",
    ),
    "DATA_CHECK": RefusalText(
        "checks fire that are not waived: {checks}",
        "read '{path}', correct the data, or waive in writing: `medimg check ... --waive {first} --reason TEXT`",
        "有检查触发且未豁免：{checks}",
        "请阅读“{path}”并修正数据，或书面豁免：`medimg check ... --waive {first} --reason 理由`",
    ),
    "DATA_WAIVER": RefusalText(
        "waivers '{path}': {reason}",
        "correct the file, or give --waive CODE with --reason TEXT and --who NAME",
        "豁免文件“{path}”：{reason}",
        "请修正该文件，或以 --waive CODE 同时给出 --reason 理由和 --who 姓名",
    ),
    "DATA_GROUP_KEY": RefusalText(
        "the key in '{path}' has {found} bytes, fewer than {least}",
        "give the file of the key that the bundle was made with",
        "“{path}”中的密钥只有 {found} 字节，少于 {least}",
        "请提供制作该模型包时所用的密钥文件",
    ),
    "DATA_PREDICTIONS": RefusalText(
        "predictions '{path}' cannot be used: {reason}",
        "write them again from the models that made them",
        "无法使用预测结果“{path}”：{reason}",
        "请用生成它的模型重新写出",
    ),
    "DATA_COMPARISON": RefusalText(
        "these two sets of predictions cannot be set against each other: {reason}",
        "use out-of-fold predictions that fit together, from one manifest and one split",
        "无法比较这两组预测结果：{reason}",
        "请使用来自同一清单和同一划分、相互匹配的折外预测结果",
    ),
    # --- the model
    "BUNDLE_NOT_FOUND": RefusalText(
        "'{path}' is not a bundle: {reason}",
        "give a folder that holds manifest.json",
        "“{path}”不是模型包：{reason}",
        "请提供包含 manifest.json 的文件夹",
    ),
    "BUNDLE_MANIFEST": RefusalText(
        "bundle '{path}': manifest.json is not valid at {where}: {reason}",
        "get the bundle again from its maker",
        "模型包“{path}”：manifest.json 在 {where} 处无效：{reason}",
        "请向制作者重新获取模型包",
    ),
    "BUNDLE_CHANGED": RefusalText(
        "bundle '{path}': {reason}",
        "do not use it; get the bundle again from its maker",
        "模型包“{path}”：{reason}",
        "请勿使用；请向制作者重新获取",
    ),
    "BUNDLE_WEIGHTS": RefusalText(
        "bundle '{path}': weights do not fit the network {network}: {reason}",
        "get the bundle again from its maker",
        "模型包“{path}”：权重与网络 {network} 不符：{reason}",
        "请向制作者重新获取模型包",
    ),
    "BUNDLE_GRAPH": RefusalText(
        "bundle '{path}': the graph '{file}' may not be run: {reason}",
        "get the bundle again from its maker",
        "模型包“{path}”：不可运行计算图“{file}”：{reason}",
        "请向制作者重新获取模型包",
    ),
    "BUNDLE_SELFTEST": RefusalText(
        "bundle '{path}': the self-test gives other results here ({reason})",
        "do not use it on this computer; report it with the output of `medimg doctor`",
        "模型包“{path}”：自检结果在此不一致（{reason}）",
        "请勿在此计算机上使用；请附上 `medimg doctor` 的输出进行报告",
    ),
    "BUNDLE_UNSUPPORTED": RefusalText(
        "bundle '{path}' needs what this version does not do: {reason}",
        "update MedImgClassifier",
        "模型包“{path}”需要本版本不支持的功能：{reason}",
        "请更新 MedImgClassifier",
    ),
    "BUNDLE_INSTALLED": RefusalText(
        "bundle '{path}' is not taken in: '{name}' is here already, and {reason}",
        "remove that one first, or ask the maker for a new version",
        "未导入模型包“{path}”：已有“{name}”，且{reason}",
        "请先移除已有的模型包，或向制作者索取新版本",
    ),
    # --- the computer
    "RESOURCE_MISSING_LIBRARY": RefusalText(
        "{library} is not installed, and {purpose} needs it",
        "install it: {command}",
        "未安装 {library}，而{purpose}需要它",
        "请安装：{command}",
    ),
    "RESOURCE_NOT_INSTALLED": RefusalText(
        "MedImgClassifier is installed without '{name}' (looked in {places})",
        "install it again",
        "安装的 MedImgClassifier 缺少“{name}”（已查找：{places}）",
        "请重新安装",
    ),
    "RESOURCE_NO_RUNTIME": RefusalText(
        "nothing here can run bundle '{bundle}': {reason}",
        "install what is missing or mend what is broken; `medimg doctor` shows both",
        "此处没有可运行模型包“{bundle}”的环境：{reason}",
        "请安装缺少的组件或修复损坏的组件；`medimg doctor` 会列出二者",
    ),
    "RESOURCE_RUNTIME_FAILED": RefusalText(
        "{runtime} failed on {device} while it classified ({reason})",
        "try another --runtime; `medimg verify` shows which work with this bundle",
        "{runtime} 在 {device} 上分类时失败（{reason}）",
        "请尝试其他 --runtime；`medimg verify` 会显示哪些可用于此模型包",
    ),
    "RESOURCE_MEMORY": RefusalText(
        "not enough memory on {device} ({reason})",
        "use a smaller --batch, or --device cpu",
        "{device} 内存不足（{reason}）",
        "请减小 --batch，或使用 --device cpu",
    ),
    "RESOURCE_GRAPHICS": RefusalText(
        "no picture can be drawn here ({reason})",
        "install what is missing: {command}",
        "此处无法绘制图像（{reason}）",
        "请安装缺少的组件：{command}",
    ),
    "RESOURCE_TEMPORARY_FOLDER": RefusalText(
        "cannot use the temporary folder '{path}': {reason}",
        "free space there, or name another in the environment variable TMPDIR (on Windows TEMP) and start again",
        "无法使用临时文件夹“{path}”：{reason}",
        "请释放其空间，或在环境变量 TMPDIR（Windows 为 TEMP）中指定其他文件夹后重新启动",
    ),
    "RESOURCE_BUNDLE_FOLDER": RefusalText(
        "cannot use the folder for imported bundles, '{path}': {reason}",
        "free space or allow writing there, or name another in the environment variable MEDIMG_BUNDLES and start again",
        "无法使用存放导入模型包的文件夹“{path}”：{reason}",
        "请释放其空间或开放写入权限，或在环境变量 MEDIMG_BUNDLES 中指定其他文件夹后重新启动",
    ),
    "RESOURCE_INSTALL_PROXY": RefusalText(
        "the libraries cannot be downloaded, the proxy refuses or does not answer ({reason})",
        "name your proxy in the environment variable HTTPS_PROXY (http://name:port) and start again, or use an offline "
        "kit (`medimg kit`)",
        "无法下载所需的库，代理拒绝或没有响应（{reason}）",
        "请在环境变量 HTTPS_PROXY 中指定代理（http://名称:端口）后重新启动，或使用离线安装包（`medimg kit`）",
    ),
    "RESOURCE_INSTALL_CERTIFICATE": RefusalText(
        "the libraries cannot be downloaded, the server's certificate is not trusted here ({reason})",
        "ask your IT department for the file of its certificate authority, name that file in the environment variables "
        "PIP_CERT and REQUESTS_CA_BUNDLE and start again, or use an offline kit (`medimg kit`)",
        "无法下载所需的库，服务器证书在此不受信任（{reason}）",
        "请向信息部门索取其证书颁发机构文件，在环境变量 PIP_CERT 和 REQUESTS_CA_BUNDLE 中指定该文件后重新启动，"
        "或使用离线安装包（`medimg kit`）",
    ),
    "RESOURCE_INSTALL_NETWORK": RefusalText(
        "the libraries cannot be downloaded, the network does not answer ({reason})",
        "check the connection; behind a proxy the environment variable HTTPS_PROXY must name one that answers "
        "(http://name:port), then start again; without internet use an offline kit (`medimg kit`)",
        "无法下载所需的库，网络没有响应（{reason}）",
        "请检查网络连接；若使用代理，环境变量 HTTPS_PROXY 须指定可用的代理（http://名称:端口），然后重新启动；"
        "没有互联网时请使用离线安装包（`medimg kit`）",
    ),
    "RESOURCE_INSTALL_DISK_FULL": RefusalText(
        "the disk is full ({reason})",
        "free some space (0.2 GB, with PyTorch 8 GB) where Slicer and the temporary folder are and try again",
        "磁盘已满（{reason}）",
        "请在 Slicer 和临时文件夹所在磁盘释放空间（0.2 GB，含 PyTorch 时 8 GB）后重试",
    ),
    "RESOURCE_INSTALL_PERMISSION": RefusalText(
        "Slicer's folder may not be written to ({reason})",
        "close other Slicer windows, which may hold files there; if that is not it, install Slicer into a folder of "
        "your own or ask who administers it",
        "无法写入 Slicer 的文件夹（{reason}）",
        "请关闭其他可能占用文件的 Slicer 窗口；若仍不行，请将 Slicer 安装到您自己的文件夹，或联系管理员",
    ),
    "RESOURCE_INSTALL_LONG_PATH": RefusalText(
        "a file's path is too long for this computer ({reason})",
        "install Slicer into a folder with a short path, or have long paths allowed in Windows",
        "文件路径超出此计算机的长度限制（{reason}）",
        "请将 Slicer 安装到路径较短的文件夹，或在 Windows 中启用长路径",
    ),
    "RESOURCE_INSTALL_CONFLICT": RefusalText(
        "the libraries do not go together with those that Slicer and its other extensions have ({reason})",
        "update Slicer and MedImgClassifier; nothing was changed",
        "所需的库与 Slicer 及其他扩展已有的库不兼容（{reason}）",
        "请更新 Slicer 和 MedImgClassifier；未作任何更改",
    ),
    "RESOURCE_INSTALL_NO_WHEEL": RefusalText(
        "a library is not offered for this computer and Python ({reason})",
        "check that Slicer is 5.12 or newer; a package server of your own must have it too; or use an offline kit "
        "(`medimg kit`)",
        "没有适用于此计算机和 Python 的库（{reason}）",
        "请确认 Slicer 为 5.12 或更新版本；自建的软件包服务器也须提供该库；或使用离线安装包（`medimg kit`）",
    ),
    "RESOURCE_INSTALL_FAILED": RefusalText(
        "the libraries could not be installed ({reason})",
        "try again; Slicer's Python console has the whole text",
        "无法安装所需的库（{reason}）",
        "请重试；完整信息见 Slicer 的 Python 控制台",
    ),
    "RESOURCE_INSTALL_BUSY": RefusalText(
        "another installation into Slicer's Python is under way",
        "wait until it has ended and try again",
        "正在向 Slicer 的 Python 安装其他组件",
        "请等待其完成后重试",
    ),
    "RESOURCE_INSTALL_CHANGED": RefusalText(
        "the installation has changed libraries of Slicer itself ({listing})",
        "put them back with slicer.util.pip_install('{restore}') in the Python console, or install Slicer again",
        "安装过程更改了 Slicer 自带的库（{listing}）",
        "请在 Python 控制台中用 slicer.util.pip_install('{restore}') 恢复，或重新安装 Slicer",
    ),
    "RESOURCE_INSTALL_UNUSABLE": RefusalText(
        "{library} was installed and does not load ({reason})",
        "on Windows install Microsoft's Visual C++ redistributable; if it comes back, report it with the text of "
        "`medimg doctor`",
        "{library} 已安装但无法加载（{reason}）",
        "在 Windows 上请安装微软 Visual C++ 运行库；若再次出现，请附上 `medimg doctor` 的输出进行报告",
    ),
    "RESOURCE_INSTALL_TORCH": RefusalText(
        "Slicer's PyTorch extension could not install PyTorch ({reason})",
        "try it in the extension's own module, or choose the small libraries",
        "Slicer 的 PyTorch 扩展无法安装 PyTorch（{reason}）",
        "请在该扩展自己的模块中尝试，或选择小型库",
    ),
    "RESOURCE_PYTORCH_EXTENSION": RefusalText(
        "Slicer's PyTorch extension is not installed, and the GPU needs it",
        "install 'PyTorch' in the Extensions Manager and start Slicer again, or choose the small libraries",
        "未安装 Slicer 的 PyTorch 扩展，而使用 GPU 需要它",
        "请在扩展管理器中安装“PyTorch”并重新启动 Slicer，或选择小型库",
    ),
    "RESOURCE_WORKER_START": RefusalText(
        "the inference process does not start with '{command}': {reason}",
        "reinstall the program that this names, or see whether a virus scanner holds it back",
        "无法用“{command}”启动推理进程：{reason}",
        "请重新安装该程序，或检查是否被杀毒软件拦截",
    ),
    "RESOURCE_WORKER_DIED": RefusalText(
        "the inference process ended before it answered ({reason})",
        "try again, it starts anew; close other programs first if memory is short",
        "推理进程在给出结果前已终止（{reason}）",
        "请重试，进程会重新启动；若内存不足，请先关闭其他程序",
    ),
    "RESOURCE_WORKER_SILENT": RefusalText(
        "the inference process said nothing for {seconds} s and was ended",
        "try again, it starts anew",
        "推理进程 {seconds} 秒无响应，已被终止",
        "请重试，进程会重新启动",
    ),
    "RESOURCE_WORKER_FAILED": RefusalText(
        "the inference process met an error of its own ({reason})",
        "try again; if it comes back, report it with the text of `medimg doctor`",
        "推理进程发生内部错误（{reason}）",
        "请重试；若再次出现，请附上 `medimg doctor` 的输出进行报告",
    ),
    "CANCELLED": RefusalText(
        "cancelled; nothing was written", "run it again when you like", "已取消；未写入任何内容", "可随时重新运行"
    ),
    "CANCELLED_INSTALL": RefusalText(
        "the installation was cancelled; what pip had begun goes on to its end",
        "press Classify when you like to begin anew",
        "安装已取消；pip 已开始的部分会自行完成",
        "可随时点击“分类”重新开始",
    ),
    "CANCELLED_INSTALL_DECLINED": RefusalText(
        "nothing was installed, and without its libraries nothing can be classified",
        "press Classify when you want to be asked again",
        "未安装任何内容；缺少所需的库时无法进行分类",
        "如需再次选择，请点击“分类”",
    ),
    "CANCELLED_TRAINING": RefusalText(
        "training was cancelled; '{path}' holds what was saved last",
        "repeat the same command to go on from there",
        "训练已取消；“{path}”中保存着最近一次保存的状态",
        "重复同一命令即可从该处继续",
    ),
}  # fmt: skip
