<?xml version="1.0" encoding="utf-8"?>
<!DOCTYPE TS>
<TS version="2.1" language="zh_CN" sourcelanguage="en_US">
<context>
    <name>MedImgClassifier</name>
    <message>
        <source>Medical Image Classifier</source>
        <translation>医学图像分类</translation>
    </message>
    <message>
        <source>Classifies the slices of a CT or MR volume and shows the class, how sure the model is, and where in the image the answer comes from. Research use only, not for diagnosis.</source>
        <translation>对 CT 或 MR 体数据的切片进行分类，显示类别、模型的把握程度以及结果在图像中的依据。仅供研究使用，不用于诊断。</translation>
    </message>
    <message>
        <source>Each model names its training data and their licenses in its model card.</source>
        <translation>每个模型的模型卡均注明其训练数据及许可。</translation>
    </message>
    <message>
        <source>Inputs</source>
        <translation>输入</translation>
    </message>
    <message>
        <source>Model:</source>
        <translation>模型：</translation>
    </message>
    <message>
        <source>The model that answers. Below it stands what it was made for.</source>
        <translation>给出结果的模型。其下方说明该模型的用途。</translation>
    </message>
    <message>
        <source>Import a model from a file or folder, or remove an imported one.</source>
        <translation>从文件或文件夹导入模型，或移除已导入的模型。</translation>
    </message>
    <message>
        <source>...</source>
        <translation>…</translation>
    </message>
    <message>
        <source>About this model</source>
        <translation>关于此模型</translation>
    </message>
    <message>
        <source>Input volume:</source>
        <translation>输入体数据：</translation>
    </message>
    <message>
        <source>The CT or MR volume to classify.</source>
        <translation>要分类的 CT 或 MR 体数据。</translation>
    </message>
    <message>
        <source>Restrict to:</source>
        <translation>限定范围：</translation>
    </message>
    <message>
        <source>Classify only the slices that a markups ROI or a segment meets. Slices stay whole: the model was trained on whole slices.</source>
        <translation>仅对标记 ROI 或分割区段所经过的切片进行分类。切片保持完整：模型是用完整切片训练的。</translation>
    </message>
    <message>
        <source>Whole volume</source>
        <translation>整个体数据</translation>
    </message>
    <message>
        <source>The segment.</source>
        <translation>分割区段。</translation>
    </message>
    <message>
        <source>Advanced</source>
        <translation>高级</translation>
    </message>
    <message>
        <source>Runtime:</source>
        <translation>运行时：</translation>
    </message>
    <message>
        <source>What runs the network. Automatic takes the fastest that repeats the self-test of the model.</source>
        <translation>运行网络的引擎。“自动”会选择能够复现模型自检结果的最快者。</translation>
    </message>
    <message>
        <source>Device:</source>
        <translation>设备：</translation>
    </message>
    <message>
        <source>Where it runs.</source>
        <translation>运行所在的设备。</translation>
    </message>
    <message>
        <source>Install or repair the inference libraries...</source>
        <translation>安装或修复推理库…</translation>
    </message>
    <message>
        <source>Choose again which libraries classify: small and fast on this computer, GPU, or an offline kit.</source>
        <translation>重新选择用于分类的库：轻量快速（本机）、GPU 或离线安装包。</translation>
    </message>
    <message>
        <source>Copy a report of this installation</source>
        <translation>复制本安装的报告</translation>
    </message>
    <message>
        <source>What is installed and what is missing, without any patient data, for whoever helps you.</source>
        <translation>已安装和缺少的内容，不含任何患者数据，可交给协助您的人员。</translation>
    </message>
    <message>
        <source>Research use only, not for diagnosis.</source>
        <translation>仅供研究使用，不用于诊断。</translation>
    </message>
    <message>
        <source>Classify</source>
        <translation>分类</translation>
    </message>
    <message>
        <source>Result</source>
        <translation>结果</translation>
    </message>
    <message>
        <source>The result that is shown: one for each volume and model.</source>
        <translation>当前显示的结果：每个体数据与模型各有一个。</translation>
    </message>
    <message>
        <source>No result</source>
        <translation>无结果</translation>
    </message>
    <message>
        <source>Previous key slice (Ctrl+Alt+PgUp)</source>
        <translation>上一个关键切片（Ctrl+Alt+PgUp）</translation>
    </message>
    <message>
        <source>Next key slice (Ctrl+Alt+PgDown)</source>
        <translation>下一个关键切片（Ctrl+Alt+PgDown）</translation>
    </message>
    <message>
        <source>Probability of each class along the slices. Click a point to go to its slice.</source>
        <translation>各类别沿切片方向的概率。点击某点可跳转到对应切片。</translation>
    </message>
    <message>
        <source>One row per classified slice. Click a row to go to its slice.</source>
        <translation>每个已分类切片一行。点击某行可跳转到对应切片。</translation>
    </message>
    <message>
        <source>Evidence</source>
        <translation>证据图</translation>
    </message>
    <message>
        <source>Lay the evidence over the slice views, in color where it speaks for the class.</source>
        <translation>在切片视图上叠加证据图，支持该类别之处以彩色显示。</translation>
    </message>
    <message>
        <source>Show over the image</source>
        <translation>叠加显示在图像上</translation>
    </message>
    <message>
        <source>Evidence for:</source>
        <translation>证据所属类别：</translation>
    </message>
    <message>
        <source>The class whose evidence is shown.</source>
        <translation>所显示证据图对应的类别。</translation>
    </message>
    <message>
        <source>Opacity:</source>
        <translation>不透明度：</translation>
    </message>
    <message>
        <source>How much of the image the overlay covers.</source>
        <translation>叠加层遮盖图像的程度。</translation>
    </message>
    <message>
        <source>Threshold:</source>
        <translation>阈值：</translation>
    </message>
    <message>
        <source>Evidence below this fraction of the strongest in the volume is not shown.</source>
        <translation>低于体数据中最强证据的这一比例时不予显示。</translation>
    </message>
    <message>
        <source>Colors:</source>
        <translation>颜色：</translation>
    </message>
    <message>
        <source>Color map of the overlay.</source>
        <translation>叠加层的颜色映射。</translation>
    </message>
    <message>
        <source>Show what the colors mean in the slice views.</source>
        <translation>在切片视图中显示颜色的含义。</translation>
    </message>
    <message>
        <source>Color legend</source>
        <translation>颜色图例</translation>
    </message>
    <message>
        <source>Make a segment of it</source>
        <translation>生成分割区段</translation>
    </message>
    <message>
        <source>Review</source>
        <translation>审阅</translation>
    </message>
    <message>
        <source>Agree</source>
        <translation>同意</translation>
    </message>
    <message>
        <source>Disagree</source>
        <translation>不同意</translation>
    </message>
    <message>
        <source>Unsure</source>
        <translation>不确定</translation>
    </message>
    <message>
        <source>Correct class:</source>
        <translation>正确类别：</translation>
    </message>
    <message>
        <source>The class that you see; one of the model or your own words.</source>
        <translation>您所判断的类别；可选模型的类别，也可自行填写。</translation>
    </message>
    <message>
        <source>Comment:</source>
        <translation>备注：</translation>
    </message>
    <message>
        <source>Save review</source>
        <translation>保存审阅</translation>
    </message>
    <message>
        <source>Keep the verdict in the scene. Classifying again or removing the result does not delete it.</source>
        <translation>将审阅结论保存在场景中。重新分类或移除结果都不会删除它。</translation>
    </message>
    <message>
        <source>Export</source>
        <translation>导出</translation>
    </message>
    <message>
        <source>Save the result as a table (CSV), as a record (JSON) or as a report with pictures (HTML).</source>
        <translation>将结果保存为表格（CSV）、记录（JSON）或带图片的报告（HTML）。</translation>
    </message>
    <message>
        <source>Remove result</source>
        <translation>移除结果</translation>
    </message>
    <message>
        <source>Remove the table, plot and evidence of this result from the scene. A review stays.</source>
        <translation>从场景中移除此结果的表格、曲线图和证据图。审阅结论会保留。</translation>
    </message>
</context>
<context>
    <name>MedImgClassifierLib.presenter</name>
    <message>
        <source>image {number}, {position}</source>
        <translation>图像 {number}，{position}</translation>
    </message>
    <message>
        <source>slice {k}, {position}</source>
        <translation>切片 {k}，{position}</translation>
    </message>
    <message>
        <source>Slice {row} of those resampled for the model</source>
        <translation>为模型重采样所得切片中的第 {row} 个</translation>
    </message>
    <message>
        <source>K = {k}, counted from 0</source>
        <translation>K = {k}，从 0 起计</translation>
    </message>
    <message>
        <source>{label} {percent} %</source>
        <translation>{label} {percent} %</translation>
    </message>
    <message>
        <source> (uncalibrated)</source>
        <translation>（未校准）</translation>
    </message>
    <message>
        <source>nearest slice {answer}</source>
        <translation>最近切片 {answer}</translation>
    </message>
    <message>
        <source>OUT OF DATE: {answer}</source>
        <translation>已过期：{answer}</translation>
    </message>
    <message>
        <source>checking: {answer}</source>
        <translation>核对中：{answer}</translation>
    </message>
    <message>
        <source>Canceling...</source>
        <translation>正在取消…</translation>
    </message>
    <message>
        <source>Waiting for the inference process to stop.</source>
        <translation>正在等待推理进程停止。</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>取消</translation>
    </message>
    <message>
        <source>Stop; nothing is added to the scene.</source>
        <translation>停止；不会向场景添加任何内容。</translation>
    </message>
    <message>
        <source>Classify</source>
        <translation>分类</translation>
    </message>
    <message>
        <source>Classify the slices of the input volume.</source>
        <translation>对输入体数据的切片进行分类。</translation>
    </message>
    <message>
        <source>No model is installed: import one or reinstall the extension.</source>
        <translation>未安装任何模型：请导入模型或重新安装扩展。</translation>
    </message>
    <message>
        <source>Choose a model.</source>
        <translation>请选择模型。</translation>
    </message>
    <message>
        <source>This model cannot be used: {reason}</source>
        <translation>此模型无法使用：{reason}</translation>
    </message>
    <message>
        <source>{channel}: {problem}</source>
        <translation>{channel}：{problem}</translation>
    </message>
    <message>
        <source>Choose an input volume.</source>
        <translation>请选择输入体数据。</translation>
    </message>
    <message>
        <source>The input volume holds no voxels: load it again or choose another.</source>
        <translation>输入体数据不含体素：请重新加载或另选一个。</translation>
    </message>
    <message>
        <source>This volume is the evidence of a result: choose an image.</source>
        <translation>此体数据是某个结果的证据图：请选择图像。</translation>
    </message>
    <message>
        <source>This volume is chosen for another input already.</source>
        <translation>此体数据已被选作另一个输入。</translation>
    </message>
    <message>
        <source>Copying</source>
        <translation>正在复制</translation>
    </message>
    <message>
        <source>Handing over</source>
        <translation>正在移交数据</translation>
    </message>
    <message>
        <source>Starting the inference process</source>
        <translation>正在启动推理进程</translation>
    </message>
    <message>
        <source>Unpacking</source>
        <translation>正在解压</translation>
    </message>
    <message>
        <source>Reading</source>
        <translation>正在读取</translation>
    </message>
    <message>
        <source>Loading the model</source>
        <translation>正在加载模型</translation>
    </message>
    <message>
        <source>Preparing</source>
        <translation>正在准备</translation>
    </message>
    <message>
        <source>Classifying</source>
        <translation>正在分类</translation>
    </message>
    <message>
        <source>Showing the result</source>
        <translation>正在显示结果</translation>
    </message>
    <message>
        <source>Checking the model</source>
        <translation>正在检查模型</translation>
    </message>
    <message>
        <source>Repeating the self-test</source>
        <translation>正在重复自检</translation>
    </message>
    <message>
        <source>Installing</source>
        <translation>正在安装</translation>
    </message>
    <message>
        <source>Looking at what is installed</source>
        <translation>正在检查已安装的组件</translation>
    </message>
    <message>
        <source>Canceling</source>
        <translation>正在取消</translation>
    </message>
    <message>
        <source>{seconds} s left</source>
        <translation>剩余 {seconds} 秒</translation>
    </message>
    <message>
        <source>{minutes} min left</source>
        <translation>剩余 {minutes} 分钟</translation>
    </message>
    <message>
        <source>{input} (not in the slice views)</source>
        <translation>{input}（未显示在切片视图中）</translation>
    </message>
    <message>
        <source>OUT OF DATE: {reasons} since this result was made. Classify again.</source>
        <translation>已过期：得出此结果后，{reasons}。请重新分类。</translation>
    </message>
    <message>
        <source>Checking whether the volume is still the one that was classified...</source>
        <translation>正在检查体数据是否仍为分类时的数据…</translation>
    </message>
    <message>
        <source>the voxels were changed</source>
        <translation>体素已更改</translation>
    </message>
    <message>
        <source>the volume was moved or its spacing changed</source>
        <translation>体数据已移动或间距已更改</translation>
    </message>
    <message>
        <source>its transform was changed</source>
        <translation>其变换已更改</translation>
    </message>
    <message>
        <source>the model was replaced or removed</source>
        <translation>模型已被替换或移除</translation>
    </message>
    <message>
        <source>the volume was removed</source>
        <translation>体数据已被移除</translation>
    </message>
    <message>
        <source>it is not known which volume was classified, or it changed</source>
        <translation>无法确认所分类的体数据，或其已被更改</translation>
    </message>
    <message>
        <source>No result is chosen.</source>
        <translation>未选择结果。</translation>
    </message>
    <message>
        <source>No result yet.</source>
        <translation>尚无结果。</translation>
    </message>
    <message>
        <source>The record of this result is missing: classify again.</source>
        <translation>缺少此结果的记录：请重新分类。</translation>
    </message>
    <message>
        <source>Counted over the slices. {label} has a median probability of {percent} % where it leads. This model gives no probability for the whole volume.</source>
        <translation>按切片计数。在以 {label} 为首的切片中，其概率中位数为 {percent} %。此模型不给出整个体数据的概率。</translation>
    </message>
    <message>
        <source>{answer}, median {percent} %</source>
        <translation>{answer}，概率中位数 {percent} %</translation>
    </message>
    <message>
        <source>Warning: {message}</source>
        <translation>警告：{message}</translation>
    </message>
    <message>
        <source>Only slices {first} to {last}, which &apos;{name}&apos; meets, were classified.</source>
        <translation>仅对“{name}”所经过的切片 {first} 至 {last} 进行了分类。</translation>
    </message>
    <message>
        <source>{slice}: {answer}</source>
        <translation>{slice}：{answer}</translation>
    </message>
    <message>
        <source>key slice: {why}</source>
        <translation>关键切片：{why}</translation>
    </message>
    <message>
        <source>Nothing in this volume speaks for {label}.</source>
        <translation>此体数据中没有支持 {label} 的证据。</translation>
    </message>
    <message>
        <source>Make a segment of the evidence above the threshold. It marks what the model used, not a finding.</source>
        <translation>将高于阈值的证据生成分割区段。它标示模型所依据之处，而非病灶。</translation>
    </message>
    <message>
        <source>The volume is gone: there is nothing to look at.</source>
        <translation>体数据已不存在，无法查看。</translation>
    </message>
    <message>
        <source>Saved {time}</source>
        <translation>保存于 {time}</translation>
    </message>
    <message>
        <source>{saved}, on an earlier result</source>
        <translation>{saved}，针对较早的结果</translation>
    </message>
    <message>
        <source>Slices worth a look: the surest of each class, the least certain one, further examples.</source>
        <translation type="vanished">值得查看的切片：各类别中最有把握的、最不确定的以及其他示例。</translation>
    </message>
    <message>
        <source>nearest slice: {answer}</source>
        <translation type="vanished">最近的切片：{answer}</translation>
    </message>
    <message>
        <source>Copying the voxels</source>
        <translation type="vanished">正在复制体素</translation>
    </message>
    <message>
        <source>Reading the voxels</source>
        <translation type="vanished">正在读取体素</translation>
    </message>
    <message>
        <source>nothing says which volume was classified, or it changed</source>
        <translation type="vanished">没有记录说明分类的是哪个体数据，或该数据已更改</translation>
    </message>
</context>
<context>
    <name>MedImgClassifierLib.translation</name>
    <message>
        <source>en</source>
        <translation>zh</translation>
    </message>
</context>
<context>
    <name>panel.exports</name>
    <message>
        <source>Table (CSV)...</source>
        <translation>表格（CSV）…</translation>
    </message>
    <message>
        <source>Record (JSON)...</source>
        <translation>记录（JSON）…</translation>
    </message>
    <message>
        <source>Report with pictures (HTML)...</source>
        <translation>带图片的报告（HTML）…</translation>
    </message>
    <message>
        <source>Export the result</source>
        <translation>导出结果</translation>
    </message>
    <message>
        <source>Saved {path}</source>
        <translation>已保存 {path}</translation>
    </message>
</context>
<context>
    <name>panel.inputs</name>
    <message>
        <source>automatic</source>
        <translation>自动</translation>
    </message>
    <message>
        <source>Input volume:</source>
        <translation>输入体数据：</translation>
    </message>
    <message>
        <source>Intended use: {use}</source>
        <translation>预期用途：{use}</translation>
    </message>
    <message>
        <source>The segmentation has no segment to restrict to.</source>
        <translation type="vanished">该分割没有可用于限定范围的区段。</translation>
    </message>
    <message>
        <source>Choose a segment: the one that was chosen is gone.</source>
        <translation type="vanished">请选择一个分割区：原先选择的已不存在。</translation>
    </message>
</context>
<context>
    <name>panel.install</name>
    <message>
        <source>Reading the offline kit</source>
        <translation>正在读取离线安装包</translation>
    </message>
    <message>
        <source>Installing libraries</source>
        <translation>正在安装库</translation>
    </message>
    <message>
        <source>Installing PyTorch</source>
        <translation>正在安装 PyTorch</translation>
    </message>
    <message>
        <source>Checking that the libraries load</source>
        <translation>正在检查库能否加载</translation>
    </message>
    <message>
        <source>Medical Image Classifier</source>
        <translation>医学图像分类</translation>
    </message>
    <message>
        <source>Libraries that classification needs are missing. What shall be installed into Slicer&apos;s Python?</source>
        <translation>缺少分类所需的库。要在 Slicer 的 Python 中安装什么？</translation>
    </message>
    <message>
        <source>All libraries that classification needs are there. What shall be installed besides, or anew?</source>
        <translation>分类所需的库均已安装。还要另外安装或重新安装哪些？</translation>
    </message>
    <message>
        <source>Small and fast: about 20 MB, computes on this computer&apos;s processor.
GPU: PyTorch besides, 2-3 GB, for an NVIDIA card; Slicer&apos;s PyTorch extension installs it.
Offline kit: from a file made by `medimg kit`, for a computer without internet.</source>
        <translation>轻量快速：约 20 MB，在本机处理器上计算。
GPU：另需 PyTorch，2-3 GB，适用于 NVIDIA 显卡；由 Slicer 的 PyTorch 扩展安装。
离线安装包：使用 `medimg kit` 生成的文件，适用于没有互联网的计算机。</translation>
    </message>
    <message>
        <source>Missing: {listing}</source>
        <translation>缺少：{listing}</translation>
    </message>
    <message>
        <source>An earlier installation was not finished and will be repaired: {listing}</source>
        <translation>先前的安装未完成，将予以修复：{listing}</translation>
    </message>
    <message>
        <source>Small and fast</source>
        <translation>轻量快速</translation>
    </message>
    <message>
        <source>GPU (PyTorch)</source>
        <translation>GPU（PyTorch）</translation>
    </message>
    <message>
        <source>From an offline kit...</source>
        <translation>从离线安装包…</translation>
    </message>
    <message>
        <source>Choose an offline kit</source>
        <translation>选择离线安装包</translation>
    </message>
    <message>
        <source>Offline kits (*.zip)</source>
        <translation>离线安装包 (*.zip)</translation>
    </message>
</context>
<context>
    <name>panel.models</name>
    <message>
        <source>Import from file...</source>
        <translation>从文件导入…</translation>
    </message>
    <message>
        <source>Import from folder...</source>
        <translation>从文件夹导入…</translation>
    </message>
    <message>
        <source>Remove this model</source>
        <translation>移除此模型</translation>
    </message>
    <message>
        <source>Models</source>
        <translation>模型</translation>
    </message>
    <message>
        <source>Import a model</source>
        <translation>导入模型</translation>
    </message>
    <message>
        <source>Remove the imported model &apos;{name}&apos; from this computer? Results in the scene stay.</source>
        <translation>要从本机移除已导入的模型“{name}”吗？场景中的结果会保留。</translation>
    </message>
</context>
<context>
    <name>panel.panel</name>
    <message>
        <source>Classification failed.</source>
        <translation>分类失败。</translation>
    </message>
    <message>
        <source>The report is on the clipboard.</source>
        <translation>报告已复制到剪贴板。</translation>
    </message>
    <message>
        <source>Canceled.</source>
        <translation type="vanished">已取消。</translation>
    </message>
</context>
<context>
    <name>panel.results</name>
    <message>
        <source>Probability</source>
        <translation>概率</translation>
    </message>
</context>
<context>
    <name>scene.channels</name>
    <message>
        <source>its name</source>
        <translation>名称</translation>
    </message>
    <message>
        <source>its modality ({modality})</source>
        <translation>成像模态（{modality}）</translation>
    </message>
    <message>
        <source>it is shown in the views</source>
        <translation>正显示在视图中</translation>
    </message>
    <message>
        <source>Chosen for {reasons}.</source>
        <translation>选择依据：{reasons}。</translation>
    </message>
    <message>
        <source>The first that fits.</source>
        <translation>首个符合条件的体数据。</translation>
    </message>
    <message>
        <source>No volume is named like &apos;{name}&apos; or told from the others by its modality ({modalities}): choose one.</source>
        <translation>没有名称近似“{name}”或可凭成像模态（{modalities}）区分的体数据：请选择一个。</translation>
    </message>
    <message>
        <source>any</source>
        <translation>任意</translation>
    </message>
</context>
<context>
    <name>scene.classification_job</name>
    <message>
        <source>it has {slices} slices, and the reference channel has {expected}</source>
        <translation>其有 {slices} 个切片，而参考通道有 {expected} 个</translation>
    </message>
</context>
<context>
    <name>scene.colors</name>
    <message>
        <source>Red to yellow</source>
        <translation>红到黄</translation>
    </message>
    <message>
        <source>Blue to yellow</source>
        <translation>蓝到黄</translation>
    </message>
    <message>
        <source>Blue only</source>
        <translation>仅蓝色</translation>
    </message>
</context>
<context>
    <name>scene.evidence_choice</name>
    <message>
        <source>{name} evidence for {label}</source>
        <translation>{name} {label} 证据图</translation>
    </message>
</context>
<context>
    <name>scene.evidence_segmentation</name>
    <message>
        <source>{name} evidence</source>
        <translation>{name} 证据图</translation>
    </message>
    <message>
        <source>Evidence of at least {percent} % of the case&apos;s largest, by {bundle}. {notice}</source>
        <translation>不低于本例最大值 {percent} % 的证据，由 {bundle} 给出。{notice}</translation>
    </message>
</context>
<context>
    <name>scene.legend</name>
    <message>
        <source>{label} ({method})</source>
        <translation>{label}（{method}）</translation>
    </message>
    <message>
        <source>nothing speaks for it</source>
        <translation>没有支持它的证据</translation>
    </message>
</context>
<context>
    <name>scene.out_of_date</name>
    <message>
        <source>OUT OF DATE: </source>
        <translation>已过期：</translation>
    </message>
    <message>
        <source>OUT OF DATE ({reasons}): </source>
        <translation>已过期（{reasons}）：</translation>
    </message>
    <message>
        <source>voxels changed</source>
        <translation>体素已更改</translation>
    </message>
    <message>
        <source>volume moved</source>
        <translation>体数据已移动</translation>
    </message>
    <message>
        <source>transform changed</source>
        <translation>变换已更改</translation>
    </message>
    <message>
        <source>model replaced or removed</source>
        <translation>模型已被替换或移除</translation>
    </message>
    <message>
        <source>volume removed</source>
        <translation>体数据已被移除</translation>
    </message>
    <message>
        <source>unknown input</source>
        <translation>未知输入</translation>
    </message>
</context>
<context>
    <name>scene.plot_marker</name>
    <message>
        <source>Shown slice</source>
        <translation>当前切片</translation>
    </message>
</context>
<context>
    <name>scene.restriction</name>
    <message>
        <source>it was deleted</source>
        <translation>已被删除</translation>
    </message>
    <message>
        <source>it has no size</source>
        <translation>大小为零</translation>
    </message>
    <message>
        <source>it is empty</source>
        <translation>为空</translation>
    </message>
    <message>
        <source>it lies outside the volume</source>
        <translation>位于体数据之外</translation>
    </message>
</context>
<context>
    <name>scene.result_nodes</name>
    <message>
        <source>{name} probabilities</source>
        <translation>{name} 概率</translation>
    </message>
    <message>
        <source>{name} evidence for {label}</source>
        <translation>{name} {label} 证据图</translation>
    </message>
    <message>
        <source>probabilities</source>
        <translation type="vanished">概率</translation>
    </message>
</context>
<context>
    <name>scene.results</name>
    <message>
        <source>Slice</source>
        <translation>切片</translation>
    </message>
    <message>
        <source>Instance</source>
        <translation>实例</translation>
    </message>
    <message>
        <source>Label</source>
        <translation>类别</translation>
    </message>
    <message>
        <source>Probability</source>
        <translation>概率</translation>
    </message>
    <message>
        <source>Index K of the acquired slice</source>
        <translation>采集切片的序号 K</translation>
    </message>
    <message>
        <source>Index among the resampled slices</source>
        <translation>重采样切片中的序号</translation>
    </message>
    <message>
        <source>DICOM instance number</source>
        <translation>DICOM 实例号</translation>
    </message>
    <message>
        <source>Position along the slice normal, counted towards {axis}</source>
        <translation>沿切片法线方向的位置，以 {axis} 为正方向</translation>
    </message>
    <message>
        <source>calibrated</source>
        <translation>已校准</translation>
    </message>
    <message>
        <source>uncalibrated</source>
        <translation>未校准</translation>
    </message>
    <message>
        <source>(uncalibrated)</source>
        <translation>（未校准）</translation>
    </message>
</context>
<context>
    <name>scene.saving</name>
    <message>
        <source>volume</source>
        <translation>体数据</translation>
    </message>
</context>
<context>
    <name>scene.volumes</name>
    <message>
        <source>Shown on an even stack: acquired slices are {reason}; largest shift {shift} mm</source>
        <translation>以等间距堆叠显示：采集切片 {reason}；最大偏移 {shift} mm</translation>
    </message>
</context>
<context>
    <name>viewer.page_state</name>
    <message>
        <source>Intended use: {use}</source>
        <translation>预期用途：{use}</translation>
    </message>
</context>
<context>
    <name>viewer.viewer</name>
    <message>
        <source>Volume</source>
        <translation>体数据</translation>
    </message>
    <message>
        <source>Something went wrong; the terminal in which the viewer was started says what.</source>
        <translation>出现错误，详情见启动查看器的终端。</translation>
    </message>
    <message>
        <source>{count} images</source>
        <translation>{count} 幅图像</translation>
    </message>
</context>
<context>
    <name>viewer.words</name>
    <message>
        <source>Research use only, not for diagnosis.</source>
        <translation>仅供研究使用，不用于诊断。</translation>
    </message>
    <message>
        <source>Show or hide the panel</source>
        <translation>显示或隐藏面板</translation>
    </message>
    <message>
        <source>Layout</source>
        <translation>布局</translation>
    </message>
    <message>
        <source>Light or dark</source>
        <translation>浅色或深色</translation>
    </message>
    <message>
        <source>Language</source>
        <translation>语言</translation>
    </message>
    <message>
        <source>Input</source>
        <translation>输入</translation>
    </message>
    <message>
        <source>Drop a DICOM folder, a zip of it, NIfTI, NRRD or MetaImage here.</source>
        <translation>将 DICOM 文件夹、其 zip 压缩包、NIfTI、NRRD 或 MetaImage 拖放到此处。</translation>
    </message>
    <message>
        <source>Open file...</source>
        <translation>打开文件…</translation>
    </message>
    <message>
        <source>Open folder...</source>
        <translation>打开文件夹…</translation>
    </message>
    <message>
        <source>On the server...</source>
        <translation>服务器上的文件…</translation>
    </message>
    <message>
        <source>Open this folder</source>
        <translation>打开此文件夹</translation>
    </message>
    <message>
        <source>Sending</source>
        <translation>正在发送</translation>
    </message>
    <message>
        <source>Sending failed: the viewer does not answer or the files cannot be read. Try again.</source>
        <translation>发送失败：查看器没有响应，或文件无法读取。请重试。</translation>
    </message>
    <message>
        <source>Cancel</source>
        <translation>取消</translation>
    </message>
    <message>
        <source>No volume is loaded.</source>
        <translation>未加载体数据。</translation>
    </message>
    <message>
        <source>Model</source>
        <translation>模型</translation>
    </message>
    <message>
        <source>About this model</source>
        <translation>关于此模型</translation>
    </message>
    <message>
        <source>Result</source>
        <translation>结果</translation>
    </message>
    <message>
        <source>Previous key slice</source>
        <translation>上一关键切片</translation>
    </message>
    <message>
        <source>Next key slice</source>
        <translation>下一关键切片</translation>
    </message>
    <message>
        <source>Key slices</source>
        <translation>关键切片</translation>
    </message>
    <message>
        <source>Evidence</source>
        <translation>证据图</translation>
    </message>
    <message>
        <source>Show over the image</source>
        <translation>叠加显示在图像上</translation>
    </message>
    <message>
        <source>Evidence for</source>
        <translation>证据所属类别</translation>
    </message>
    <message>
        <source>Opacity</source>
        <translation>不透明度</translation>
    </message>
    <message>
        <source>Threshold</source>
        <translation>阈值</translation>
    </message>
    <message>
        <source>Part of the strongest evidence in the volume below which nothing is drawn</source>
        <translation>低于体数据中最强证据的该比例时不绘制</translation>
    </message>
    <message>
        <source>Colors</source>
        <translation>颜色</translation>
    </message>
    <message>
        <source>Color legend</source>
        <translation>颜色图例</translation>
    </message>
    <message>
        <source>Review</source>
        <translation>审阅</translation>
    </message>
    <message>
        <source>Correct class</source>
        <translation>正确类别</translation>
    </message>
    <message>
        <source>Comment</source>
        <translation>备注</translation>
    </message>
    <message>
        <source>Save review</source>
        <translation>保存审阅</translation>
    </message>
    <message>
        <source>Save</source>
        <translation>保存</translation>
    </message>
    <message>
        <source>Remove this result</source>
        <translation>移除此结果</translation>
    </message>
    <message>
        <source>Fit</source>
        <translation>适应窗口</translation>
    </message>
    <message>
        <source>Probability along the slices</source>
        <translation>沿切片的概率</translation>
    </message>
    <message>
        <source>Several series: choose one</source>
        <translation>有多个序列：请选择一个</translation>
    </message>
    <message>
        <source>Four views</source>
        <translation>四视图</translation>
    </message>
    <message>
        <source>Agree</source>
        <translation>同意</translation>
    </message>
    <message>
        <source>Disagree</source>
        <translation>不同意</translation>
    </message>
    <message>
        <source>Unsure</source>
        <translation>不确定</translation>
    </message>
    <message>
        <source>Table (CSV)</source>
        <translation>表格 (CSV)</translation>
    </message>
    <message>
        <source>Record (JSON)</source>
        <translation>记录 (JSON)</translation>
    </message>
    <message>
        <source>Report (HTML)</source>
        <translation>报告 (HTML)</translation>
    </message>
    <message>
        <source>Scene (MRB)</source>
        <translation>场景 (MRB)</translation>
    </message>
    <message>
        <source>Axial</source>
        <translation>轴位</translation>
    </message>
    <message>
        <source>3D</source>
        <translation>三维</translation>
    </message>
    <message>
        <source>Coronal</source>
        <translation>冠状位</translation>
    </message>
    <message>
        <source>Sagittal</source>
        <translation>矢状位</translation>
    </message>
</context>
<context>
    <name>workflow.input_choice</name>
    <message>
        <source>The segmentation has no segment to restrict to.</source>
        <translation>该分割没有可用于限定范围的区段。</translation>
    </message>
    <message>
        <source>Choose a segment: the one that was chosen is gone.</source>
        <translation>请选择一个分割区：原先选择的已不存在。</translation>
    </message>
</context>
<context>
    <name>workflow.workflow</name>
    <message>
        <source>Canceled.</source>
        <translation>已取消。</translation>
    </message>
</context>
</TS>
