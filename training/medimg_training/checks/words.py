"""What every check says, in English and Chinese; names in braces are facts of the CheckResult."""

from __future__ import annotations

TEXTS = {
    # --- why a check says nothing
    "TOO_FEW_GROUPS": (
        "{few}: at least {least} groups in each of two classes are needed to tell a shortcut from chance",
        "{few}：至少两个类别各需 {least} 个分组，才能区分捷径与偶然",
    ),
    "TOO_FEW_UNITS": (
        "site or scanner are known for fewer than {least} groups, or for one class only",
        "已知站点或扫描仪的分组少于 {least} 个，或仅有一个类别",
    ),
    "NO_SITE": (
        "no column 'site' or 'scanner' with at least two values in the manifest",
        "清单中没有取值至少两种的“site”或“scanner”列",
    ),
    "NO_BACKBONE": ("no bundle was named that training starts from", "未指定训练所依据的模型包"),
    "NO_TRAINING_GROUPS": (
        "bundle '{bundle}' does not say which groups it was trained on",
        "模型包“{bundle}”未说明其训练所用的分组",
    ),
    "KEY_MISSING": (
        "key missing: bundle '{bundle}' says its groups under the key {key}",
        "缺少密钥：模型包“{bundle}”的训练分组以密钥 {key} 记录",
    ),
    "KEY_DIFFERS": (
        "the key is another one: bundle '{bundle}' says its groups under the key {key}",
        "密钥不符：模型包“{bundle}”的训练分组以密钥 {key} 记录",
    ),
    # --- what they find
    "SAME_GROUP_ACROSS_ROLES.roles": (
        "the same {what} is in two groups of different roles ({crossing} times)",
        "同一 {what} 出现在不同角色的两个分组中（{crossing} 次）",
    ),
    "SAME_GROUP_ACROSS_ROLES.groups": (
        "the same {what} is in two groups ({pairs} times)",
        "同一 {what} 出现在两个分组中（{pairs} 次）",
    ),
    "SAME_GROUP_ACROSS_ROLES.silent": (
        "no patient, study, series or file is in two groups",
        "没有患者、检查、序列或文件出现在两个分组中",
    ),
    "NEAR_DUPLICATES.roles": (
        "{crossing} pairs of samples in different roles show the same or nearly the same image ({pairs} in all groups)",
        "不同角色的样本中有 {crossing} 对图像相同或几乎相同（所有分组共 {pairs} 对）",
    ),
    "NEAR_DUPLICATES.groups": (
        "{pairs} pairs of samples in {groups} different groups show the same or nearly the same image: the groups are "
        "not what they should be",
        "{groups} 个不同分组中有 {pairs} 对样本的图像相同或几乎相同：分组有误",
    ),
    "NEAR_DUPLICATES.within": (
        "{pairs} pairs of samples in different groups show nearly the same image, none of them across roles",
        "不同分组中有 {pairs} 对样本的图像几乎相同，但均未跨越角色",
    ),
    "NEAR_DUPLICATES.silent": ("no image is in two groups", "没有图像出现在两个分组中"),
    "CONTRADICTORY_LABELS.fires": (
        "{pairs} pairs of samples show the same or nearly the same image under different labels",
        "有 {pairs} 对样本图像相同或几乎相同而标签不同",
    ),
    "CONTRADICTORY_LABELS.silent": ("no image has two labels", "没有图像具有两个标签"),
    "HEADER_SHORTCUT.fires": (
        "size, spacing and other header fields alone tell class '{best}' apart (AUC {auc} out of fold, p {p}, "
        "{units} units); most telling: {telling}",
        "仅凭尺寸、间距等文件头信息即可区分类别“{best}”（折外 AUC {auc}，p {p}，{units} 个单元）；"
        "最显著的是：{telling}",
    ),
    "HEADER_SHORTCUT.silent": (
        "header fields do not tell the classes apart (AUC {auc} out of fold, {units} units; it matters from "
        "{threshold} on, where chance is ruled out)",
        "文件头信息不能区分各类别（折外 AUC {auc}，{units} 个单元；达到 {threshold} 且排除偶然才算）",
    ),
    "BACKGROUND_SHORTCUT.fires": (
        "corners, border and noise of the images alone tell class '{best}' apart (AUC {auc} out of fold, p {p}, "
        "{units} units); most telling: {telling}",
        "仅凭图像的角落、边缘与噪声即可区分类别“{best}”（折外 AUC {auc}，p {p}，{units} 个单元）；"
        "最显著的是：{telling}",
    ),
    "BACKGROUND_SHORTCUT.silent": (
        "corners, border and noise do not tell the classes apart (AUC {auc} out of fold, {units} units; it matters "
        "from {threshold} on, where chance is ruled out)",
        "角落、边缘与噪声不能区分各类别（折外 AUC {auc}，{units} 个单元；达到 {threshold} 且排除偶然才算）",
    ),
    "LABEL_SITE_CONFOUNDING.fires": (
        "the label goes with the {column} (Cramer's V {v}, p {p}, {units} units)",
        "标签与 {column} 相关（Cramér V {v}，p {p}，{units} 个单元）",
    ),
    "LABEL_SITE_CONFOUNDING.one_class": (
        "{column} {alone} has one class only, which is more than chance (Cramer's V of all {v}, {units} units)",
        "{column} {alone} 仅有一个类别，且非偶然（总体 Cramér V {v}，{units} 个单元）",
    ),
    "LABEL_SITE_CONFOUNDING.silent": (
        "the label does not go with the {column} (Cramer's V {v}, {units} units; strong from {threshold} on, where "
        "chance is ruled out)",
        "标签与 {column} 无明显相关（Cramér V {v}，{units} 个单元；达到 {threshold} 且排除偶然才算）",
    ),
    "MIXED_MODALITIES.fires": (
        "the manifest mixes modalities or units: {modalities}; {units}",
        "清单混合了不同模态或单位：{modalities}；{units}",
    ),
    "MIXED_MODALITIES.labels": (
        "the manifest mixes modalities or units, and they go with the label (Cramer's V {v}): {modalities}; {units}",
        "清单混合了不同模态或单位，且与标签相关（Cramér V {v}）：{modalities}；{units}",
    ),
    "MIXED_MODALITIES.silent": (
        "one modality ({modalities}) and one unit ({units})",
        "仅一种模态（{modalities}）和一种单位（{units}）",
    ),
    "REUSE.fires": (
        "bundle '{bundle}' was trained on {met} of the {groups} groups that are to be evaluated",
        "模型包“{bundle}”曾用待评估的 {groups} 个分组中的 {met} 个进行训练",
    ),
    "REUSE.silent": (
        "bundle '{bundle}' was trained on none of the {groups} groups that are to be evaluated",
        "模型包“{bundle}”未使用待评估的 {groups} 个分组中的任何一个进行训练",
    ),
    "VOLUME_VALUES.fires": (
        "{samples} samples cannot be used or are empty ({unreadable} cannot be read or are not finite; {empty} of "
        "{slices} slices have no contrast)",
        "有 {samples} 个样本无法使用或为空（{unreadable} 个无法读取或数值无效；"
        "{slices} 个切片中有 {empty} 个没有对比度）",
    ),
    "VOLUME_VALUES.silent": (
        "every sample can be read and has contrast ({empty} of {slices} slices have none)",
        "所有样本均可读取且有对比度（{slices} 个切片中有 {empty} 个没有）",
    ),
}  # fmt: skip

# code of a check -> what to do where it fires
ADVICE = {
    "SAME_GROUP_ACROSS_ROLES": (
        "Give what belongs to one patient one group in the manifest, and make the split again.",
        "请在清单中将同一患者的数据归入同一分组，并重新划分。",
    ),
    "NEAR_DUPLICATES": (
        "Remove the copies, or give them one group, and make the split again.",
        "请删除重复图像，或将其归入同一分组，并重新划分。",
    ),
    "CONTRADICTORY_LABELS": (
        "Look at the images and correct the labels, or leave these samples out.",
        "请查看图像并修正标签，或排除这些样本。",
    ),
    "HEADER_SHORTCUT": (
        "Bring all images to one field of view and spacing by padding and resampling, or balance the classes in what "
        "tells them apart.",
        "请通过填充和重采样统一视野与间距，或使各类别在该信息上保持均衡。",
    ),
    "BACKGROUND_SHORTCUT": (
        "Remove the background (mask or crop), and report the figures without it as well.",
        "请去除背景（掩膜或裁剪），并同时报告去除背景后的结果。",
    ),
    "LABEL_SITE_CONFOUNDING": (
        "Balance the classes within each site, or evaluate on sites that training has not seen.",
        "请使每个站点内的类别均衡，或在训练未见过的站点上评估。",
    ),
    "MIXED_MODALITIES": (
        "Make one manifest for each modality, unless to tell them apart is the task.",
        "请为每种模态分别制作清单，除非任务即为区分模态。",
    ),
    "REUSE": (
        "Start from another backbone, or move these groups out of the role evaluate.",
        "请使用其他主干网络，或将这些分组移出 evaluate 角色。",
    ),
    "VOLUME_VALUES": (
        "Mend the files, or leave these samples or slices out of the manifest.",
        "请修复文件，或在清单中排除这些样本或切片。",
    ),
}  # fmt: skip

# of the report
TITLE = ("Checks before training", "训练前检查")
COLUMNS = (("check", "answer", "what was found", "what to do"), ("检查", "结论", "发现", "建议"))
ANSWERS = {
    "silent": ("silent", "未触发"),
    "fires": ("**fires**", "**触发**"),
    "waived": ("fires, waived", "触发，已豁免"),
    "not applicable": ("not applicable", "不适用"),
}
WAIVED = ("Waived by {who}, {when}: {reason}", "由 {who} 于 {when} 豁免：{reason}")
UNNEEDED = (
    "The waiver of {code} is not needed: the check does not fire.",
    "{code} 的豁免已无必要：该检查未触发。",
)
LAPSED = (
    "The waiver of {code} has lapsed: it was given for another state of the data.",
    "{code} 的豁免已失效：它针对的是数据的另一状态。",
)
