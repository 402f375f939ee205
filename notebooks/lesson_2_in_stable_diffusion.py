# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lesson 2: ControlNet in Stable Diffusion
#
# In [lesson 1](lesson_1_block.ipynb) you saw one block with its locked copy, its trainable copy and its zero convolutions. Now look at the whole network. Where do the copies stand, what do they cost, and what do they add to a picture?
#
# Everything is read off real networks while they run. Sentences that begin with ✓ are checked by the code above them.
#
# "The article" is Lvmin Zhang, Anyi Rao and Maneesh Agrawala, *Adding Conditional Control to Text-to-Image Diffusion Models* (2023), sections 3.2 and 3.4.
#
# > **Words of this lesson**
# >
# > | word | what it means | Deutsch | 中文 |
# > |---|---|---|---|
# > | latent | the small picture on which the model works; it is enlarged at the end | latentes Bild | 潜变量 |
# > | encoder | the half of the network in which pictures become smaller and channels more | Encoder | 编码器 |
# > | decoder | the half in which pictures become larger again | Decoder | 解码器 |
# > | skip connection | a shortcut from an encoder block to the decoder block of the same size | Sprungverbindung | 跳跃连接 |
# > | residual | what a ControlNet adds to one skip connection | Residuum | 残差 |
# > | denoising step | one of the steps in which noise becomes a picture | Entrauschungsschritt | 去噪步骤 |
# > | conditioning scale | the number by which all residuals are multiplied | Skalierung | 控制强度 |
# > | guidance | going further in the direction in which the prompt pulls | Guidance (Führung) | 引导 |
# > | FLOPs | how many additions and multiplications a computation takes | Rechenschritte | 浮点运算量 |

# %%
import workbench as wb

# %% [markdown]
# ## The whole network
#
# Stable Diffusion's network is a **UNet**. Its encoder makes the latent smaller, level by level; its decoder makes it larger again. Each decoder block gets two inputs: what comes from below, and, by a skip connection, what the encoder block of the same size gave.
#
# ControlNet copies the encoder and the middle block. It does **not** copy the decoder. What each copied block gives goes through a zero convolution (Z) and is added (+) to the skip connection.
#
# Here is the small model that comes with this project. A box says the name of the block and what it gives: channels × height × width.

# %%
small = wb.lessons.network("paperdoll")
wb.lessons.network_figure(small)

# %%
encoder, copied = small.of("encoder"), small.of("copy")
assert [(b.name, b.shape, b.parameters) for b in encoder] == [
    (b.name, b.shape, b.parameters) for b in copied
]
assert [b.shape for b in encoder] == list(small.residuals[:-1])
assert [b.shape for b in small.of("middle")] == [small.residuals[-1]]
assert len(small.of("decoder")) == len(encoder)
small.table()

# %% [markdown]
# ✓ The copy has the same blocks as the encoder: the same names, shapes and numbers of parameters.
#
# ✓ Each residual has the shape of the skip connection to which it is added; the last one that of the middle block.
#
# ✓ There is one decoder block for each encoder block.
#
# ## The same figure for the big ones
#
# The real models are too large to be sent with a lesson, but for this figure one needs no weights: only the *sizes*. The networks below are built from them on PyTorch's "meta" device. It knows the shape of every tensor and holds no number. The first one takes a moment; then move the slider.

# %%
MODELS = ["paperdoll", "sd15", "sdxl", "sd35"]


def draw(model):
    return wb.lessons.network_figure(wb.lessons.network(model))


wb.slider(draw, model=MODELS)

# %%
sd15, sdxl, sd35 = (wb.lessons.network(name) for name in ("sd15", "sdxl", "sd35"))
assert len(sd15.of("copy")) == 12 and len(sd15.of("copy's middle")) == 1
assert {b.shape[1] for b in sd15.of("encoder")} == {64, 32, 16, 8}
assert len(sd15.residuals) == 13 and len(sdxl.residuals) == 10 and len(small.residuals) == 7
assert len(sd35.of("decoder")) == 38 and len(sd35.of("copy")) == len(sd35.residuals) == 19
assert sd35.of("copy")[0].parameters < sd35.of("decoder")[0].parameters
wb.lessons.sizes_read("sd15") + wb.lessons.sizes_read("sdxl") + wb.lessons.sizes_read("sd35")

# %% [markdown]
# ✓ In Stable Diffusion 1.5, as in the article, 12 encoder blocks at four sizes (64, 32, 16, 8) and 1 middle block are copied. That makes 13 residuals; SDXL has 10, our small model 7.
#
# ✓ Stable Diffusion 3.5 is another thing: a **transformer** without encoder and decoder, a row of 38 blocks. Its ControlNet has 19 blocks, and each adds to two blocks of the transformer.
#
# ✓ They are no copies either: a block of this ControlNet has fewer parameters than one of the transformer (it does not read the text). The *idea* of the article has stayed: a locked network, a second one beside it, and layers that start at zero between them.
#
# The list says where the sizes were read.
#
# ## How the map gets in
#
# A control map has 512 × 512 pixels, the latent 64 × 64. A small network, the **condition encoder** E, brings the map to the size of the latent. The article (section 3.2) describes it so: *four convolution layers with 4 × 4 kernels and 2 × 2 strides, activated by ReLU, with 16, 32, 64, 128 channels, initialised with Gaussian weights*.
#
# Build exactly this, and send a map through:

# %%
article = wb.lessons.convolutions(wb.lessons.article_encoder())
article

# %% [markdown]
# And here is the one that people really use, from the library diffusers:

# %%
used = wb.lessons.convolutions(wb.lessons.diffusers_encoder())
used

# %%
assert list(article["channels out"]) == [16, 32, 64, 128]
assert set(article["kernel"]) == {"4×4"} and set(article["stride"]) == {2}
assert article["side"].iloc[-1] == 32 and used["side"].iloc[-1] == 64
assert len(used) == 8 and set(used["kernel"]) == {"3×3"} and sum(used["stride"] == 2) == 3
assert list(used["zero"]) == [False] * 7 + [True]

# %% [markdown]
# ✓ They are not the same. E of the article halves the picture four times: 512 becomes 32, which does **not** fit the latent of 64. The one in use has eight convolutions with 3 × 3 kernels, and only three of them halve: 512 becomes 64.
#
# ✓ The last one of the eight starts at zero. It is the first zero convolution, $\Theta_{z1}$ of lesson 1.
#
# An article tells an idea; the code tells what was done. When the two differ, look at the code, and say so.
#
# ## What does it cost?
#
# Count the parameters, and the operations (FLOPs) of one denoising step: once for the locked network, once for the trainable part. (`torch.utils.flop_counter` does it.)

# %%
costs = wb.lessons.costs(*MODELS)
costs.style.format(precision=2, thousands=" ")

# %%
assert round(sd15.parameters["locked"] / 1e6) == 860
assert round(sd15.parameters["trainable"] / 1e6) == 361
assert (costs["parameters, share"] < 0.5).all() and (costs["parameters, share"] > 0.25).all()
assert sd15.flops["trainable"] < 0.4 * sd15.flops["locked"]

# %% [markdown]
# ✓ Stable Diffusion 1.5 has 860 million parameters, its ControlNet 361 million.
#
# ✓ In all four, the trainable part has between a quarter and a half of the parameters.
#
# ✓ In Stable Diffusion 1.5 a step with ControlNet takes less than 1.4 times the operations of a step without: the decoder, which is the expensive half, is not copied.
#
# And training saves more than that. The locked network needs no gradients for its weights, and no memory for how an optimiser would change them.
#
# ## What does each residual add?
#
# Now let the small model make a picture, and measure in every step what its ControlNet adds. Here are the source, its depth map, the picture of the prompt alone, and the picture with the control:

# %%
request = wb.lessons.Request(
    prompt="a girl, long hair, blond hair, black coat, winter, snow", control="depth", scale=1.0
)
wb.lessons.pictures_figure(
    {
        "source": wb.lessons.source_picture(request),
        "control map": wb.lessons.control_map(request),
        "text alone": wb.lessons.text_picture(request),
        "text and control": wb.lessons.picture(request),
    }
)

# %% [markdown]
# A bar says how strong a residual is, compared with what it is added to: 1 means that both are equally large. Below each bar is a map over the picture: where is much added (bright), and where little? Move the sliders for the step and for the scale.

# %%
added = {
    scale: wb.lessons.residuals(
        wb.lessons.Request(prompt=request.prompt, control="depth", scale=scale)
    )
    for scale in (0.5, 1.0, 2.0)
}


def show(scale, step):
    return wb.lessons.residuals_figure(added[scale][step - 1])


wb.slider(show, precompute=False, scale=list(added), step=range(1, request.steps + 1))

# %%
for one, double in zip(added[1.0][0], added[2.0][0], strict=True):
    assert abs(double.strength / one.strength - 2) < 0.001
for first, last in zip(added[1.0][0], added[1.0][-1], strict=True):
    assert first.strength > last.strength > 0
strengths = [residual.strength for residual in added[1.0][0]]
assert max(strengths) == strengths[-1]
assert len(added[1.0]) == request.steps and len(strengths) == len(small.residuals)
{residual.block: round(residual.strength, 2) for residual in added[1.0][0]}

# %% [markdown]
# ✓ In the first step, twice the scale makes every residual exactly twice as strong. (Later it need not: the latent is then another one.)
#
# ✓ For this picture each residual is stronger in the first step than in the last: the control speaks loudest while the picture is still noise.
#
# ✓ In the first step the residual of the middle block, the deepest, is the strongest.
#
# ## Three things called "guess mode"
#
# What if there is **no prompt**? One would like the model to guess what the map shows. People call this *guess mode*, and mean different things. To understand them, recall **guidance**: in each step the model predicts twice, with the prompt and with the empty prompt, and then goes further in the direction from the second to the first.
#
# With an empty prompt both predictions are the same, and guidance does nothing:

# %%
no_prompt = wb.lessons.Request(prompt="", control="depth", guidance=3.0)
no_guidance = wb.lessons.Request(prompt="", control="depth", guidance=1.0)
usual = wb.lessons.picture(no_prompt)
assert wb.lessons.difference(usual, wb.lessons.picture(no_guidance)) < 0.005
assert wb.lessons.difference(usual, wb.lessons.text_picture(no_prompt)) > 0.05

# %% [markdown]
# ✓ Without a prompt, guidance 3 gives the picture of guidance 1, up to rounding. The control still has its effect.
#
# The trick of all guess modes: give the control only to the prediction *with* the prompt. Then the two differ by the control, and guidance makes **the control** stronger. As this would be too strong, the residuals get weights.
#
# | where | weights | the prediction without the prompt |
# |---|---|---|
# | the authors' program, *Guess Mode* | $0.825^{12-i}$: from 0.1 (shallow) to 1 (deep) | gets an empty, black map, with the same weights |
# | diffusers, `guess_mode=True` | from 0.1 to 1 in equal steps of the logarithm | gets no control |
# | web UI, *ControlNet is more important* | as in the authors' program | gets no control |
# | web UI, *My prompt is more important* | as in the authors' program | gets the control as well |
# | web UI, *Balanced* | all 1 | gets the control as well: this is the usual way |
# | the article, section 3.4 | $64 / h$, where $h$ is the side of the block | gets no control |

# %%
sides = [shape[-1] for shape in sd15.residuals]
original = wb.lessons.guess_weights("original", sides)
diffusers = wb.lessons.guess_weights("diffusers", sides)
of_the_article = wb.lessons.guess_weights("article", sides)
assert max(abs(a - b) for a, b in zip(original, diffusers, strict=True)) < 0.001
assert abs(original[0] - 0.1) < 0.001 and original[-1] == diffusers[-1] == 1
assert of_the_article[0] == 1 and of_the_article[-1] == 8
for weights in (original, diffusers, of_the_article):
    assert list(weights) == sorted(weights)
[round(weight, 2) for weight in original]

# %% [markdown]
# ✓ The 13 weights of the authors' program and of diffusers differ by less than 0.001.
#
# ✓ Those of the article are others, from 1 to 8. All three give deep blocks more weight than shallow ones.
#
# Now all of them with the empty prompt, on the same map and seed. (Our model has 7 residuals, so the weights have 7 values between the same ends.)

# %%
net = wb.lessons.models().controlnet("depth")
sides = [shape[-1] for shape in small.residuals]
soft = wb.lessons.guess_weights("original", sides)
MODES = {
    "usual, balanced": ([1.0] * 7, "controlled"),
    "authors' guess": (soft, "empty map"),
    "ControlNet more": (soft, "left out"),
    "prompt more": (soft, "controlled"),
    "article, 3.4": (wb.lessons.guess_weights("article", sides), "left out"),
}


def in_all_modes(request):
    pictures = {}
    for name, (weights, unprompted) in MODES.items():
        with wb.lessons.weighted(net, weights, unprompted=unprompted):
            pictures[name] = wb.lessons.picture(request, net)
    pictures["diffusers' guess"] = wb.lessons.picture(request, guess_mode=True)
    return pictures


pictures = in_all_modes(no_prompt)
wb.lessons.pictures_figure(pictures)

# %%
diffusers_own = pictures["diffusers' guess"]
apart = {name: wb.lessons.difference(diffusers_own, made) for name, made in pictures.items()}
assert (pictures["usual, balanced"] == usual).all()
assert apart["ControlNet more"] < 0.01
assert min(apart[name] for name in MODES if name != "ControlNet more") > 0.01
{name: round(value, 3) for name, value in apart.items()}

# %% [markdown]
# ✓ diffusers' `guess_mode` draws what the web UI calls *ControlNet is more important*: the two pictures differ by less than 1 %.
#
# ✓ All the others draw something else. So never write "guess mode" alone: say **whose**.
#
# One picture each is an illustration, no measurement. Which mode follows the map best is a question for a study with many sources and seeds.
#
# ## Exercises
#
# **1.** Why does ControlNet add to the *skip connections* and not to the encoder itself?
#
# <details><summary>Answer</summary>
#
# Because the encoder then stays as it is, and the copy sees the same latent as the encoder does. What is added meets the decoder only. If it were added to the encoder, each block would change the input of the next, and the copy and the original would drift apart.
#
# </details>
#
# **2.** Put `control="canny"` into the request of the residuals. Which map changes most?
#
# <details><summary>Answer</summary>
#
# Look at the maps of the two 16 × 16 blocks: with edges, what is added lies along lines; with depth, on surfaces. The deep maps have 4 × 4 places only and can hardly show a difference.
#
# </details>
#
# **3.** Compute from the table of shapes: at which level of Stable Diffusion 1.5 do one block's numbers (channels × height × width) become the fewest?
#
# <details><summary>Answer</summary>
#
# At the deepest: 1280 × 8 × 8 = 81 920 numbers, against 320 × 64 × 64 = 1 310 720 at the top. The channels grow 4 times, but the places become 64 times fewer.
#
# </details>
#
# **4.** Call `in_all_modes(request)`, with the prompt. Do the modes differ more or less than without one?
#
# <details><summary>Answer</summary>
#
# Try it before you read on. Here *prompt more* comes closest to the text, as its residuals are weak and nothing makes them stronger. The others still differ by what happens to the prediction without the prompt. How much depends on the guidance: try `guidance=1.0`, where that prediction is not used at all.
#
# </details>
#
# In the [next lesson](lesson_3_training.ipynb) such a network is trained, from zero.
