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
# # Lesson 1: one block
#
# A model that draws pictures from text took weeks and many computers to train. ControlNet teaches it a second language, that of edges, depth or poses, **without forgetting the first**. How can one add something to a finished network and break nothing?
#
# This lesson takes the smallest part of ControlNet and lets you look inside. Run the cells from top to bottom. Each sentence that begins with ✓ is checked by the code above it: if it were false, the cell would stop with an error.
#
# The idea is from Lvmin Zhang, Anyi Rao and Maneesh Agrawala, *Adding Conditional Control to Text-to-Image Diffusion Models* (2023), section 3.1. We call it "the article".
#
# > **Words of this lesson**
# >
# > | word | what it means | Deutsch | 中文 |
# > |---|---|---|---|
# > | block | a part of a network: numbers go in, numbers come out | Block | 模块 |
# > | weights | the numbers inside a block which training changes | Gewichte | 权重 |
# > | locked | its weights are not changed any more | eingefroren | 冻结 |
# > | copy | a second block with the same weights, which may change | Kopie | 副本 |
# > | condition | what the picture shall follow: edges, depth, a pose | Bedingung | 条件 |
# > | channel | one layer of numbers; a colour photograph has three | Kanal | 通道 |
# > | zero convolution | a convolution whose weights all start at 0 | Null-Faltung | 零卷积 |
# > | loss | how wrong the output is; training makes it smaller | Verlust | 损失 |
# > | gradient | in which direction, and how much, the loss changes when a weight changes | Gradient | 梯度 |

# %%
import workbench as wb

# %% [markdown]
# ## A block, and its ControlNet form
#
# A **block** is a function with weights. It takes an input $x$ and gives an output $y$:
#
# $$y = F(x; \Theta)$$
#
# $F$ is what the block does, $\Theta$ (say: theta) are all its weights. Here it is a real one: `ResnetBlock2D` of the library diffusers, the kind of block that the encoder of Stable Diffusion is made of.

# %%
F = wb.lessons.EncoderBlock(channels=8, seed=0)
x = wb.lessons.noise(4, 8, 16, 16, seed=1)  # 4 examples, 8 channels, 16 × 16 places
y = F(x)
assert y.shape == x.shape
F

# %% [markdown]
# The ControlNet form of the block has a second input, the condition $c$, and gives
#
# $$y_c = F(x; \Theta) + Z\big(F(x + Z(c; \Theta_{z1}); \Theta_c); \Theta_{z2}\big)$$
#
# Read it from the inside to the outside:
#
# 1. $Z(c; \Theta_{z1})$: a small convolution brings the condition into the shape of $x$.
# 2. It is added to $x$, and goes through a **copy** of the block, with weights $\Theta_c$.
# 3. A second small convolution $Z(\ldots; \Theta_{z2})$ takes what comes out,
# 4. and this is added to the output of the old block. The old block is **locked**: $\Theta$ never changes.
#
# $Z$ is a convolution of size 1 × 1: at each place of the picture it mixes the channels, and looks at no other place. All its weights begin at 0, and so do its biases (the numbers it adds). That is a **zero convolution**.
#
# In code it is hardly longer than in mathematics:

# %%
wb.lessons.source(wb.lessons.ControlledBlock)

# %%
block = wb.lessons.ControlledBlock(F, x=8, c=3, y=8)
both = zip(F.parameters(), block.copy.parameters(), strict=True)
assert all((one == other).all() for one, other in both)
assert not any(weight.requires_grad for weight in block.locked.parameters())
assert all(weight.requires_grad for weight in block.copy.parameters())
zeros = [*block.z1.parameters(), *block.z2.parameters()]
assert all((weight == 0).all() for weight in zeros)

# %% [markdown]
# ✓ The copy begins with the same weights as the block.
#
# ✓ The weights of the locked block do not learn; those of the copy do.
#
# ✓ All weights and biases of both zero convolutions are exactly 0.
#
# ## Before training, nothing has changed
#
# The second zero convolution multiplies everything by 0. So the ControlNet form gives what the old block gives, for **any** condition. Let us try three: random numbers, numbers a million times larger, and nothing at all.

# %%
c = wb.lessons.noise(4, 3, 16, 16, seed=2)
for condition in (c, 1_000_000 * c, 0 * c):
    assert (block(x, condition) == y).all()

# %% [markdown]
# ✓ $y_c = y$, not only nearly: every number is equal.
#
# This is why ControlNet cannot break the model at the start: there is no first day of noise, on which it unlearns what it could do.
#
# ## But can zero learn?
#
# Here many people stop and think: *if everything is multiplied by 0, the gradient must be 0 too, and nothing will ever be learnt.* It is a good thought, and it is wrong. Take the smallest case, one weight:
#
# $$\text{output} = w \cdot \text{input}, \qquad \frac{\partial\,\text{output}}{\partial w} = \text{input}$$
#
# The gradient of a weight is **not** the weight. It is the *input*. When $w = 0$ the output is 0, but the output would change at once if $w$ changed.
#
# For a whole zero convolution it is the same, with a sum over all places and examples. The loss $L$ says how wrong the output is, and $\partial L/\partial\,\text{output}$, which comes down from above, is called **upstream**:
#
# $$\frac{\partial L}{\partial W} = \sum \text{upstream} \cdot \text{input}$$
#
# Let us give the block something to learn, a task in which the condition matters: add to $y$ the mean of the condition's channels. Then compute the gradient by hand, and let PyTorch compute it (its part that does this is called *autograd*).

# %%
wanted = y + c.mean(dim=1, keepdim=True)
found = wb.lessons.gradients(block, x, c, wanted)
wb.lessons.one_weight(found, output=0, given=0).style.format("{:.6f}", na_rep="")

# %%
assert (found.output == 0).all()
assert (found.input != 0).any() and (found.upstream != 0).any()
assert (found.autograd != 0).any()
assert float((found.by_hand - found.autograd).abs().max()) < 1e-6
found.sizes.rename("largest gradient").to_frame()

# %% [markdown]
# ✓ The output of the zero convolution is 0 everywhere.
#
# ✓ Its input and its upstream are not 0, and so its gradient is not 0.
#
# ✓ upstream · input, added up by hand, is what autograd finds.
#
# Now look at the other rows of the last table. In the very first step, the copy and the first zero convolution have the gradient 0! For what they learn must come through the second zero convolution, and on this way it is multiplied by its *weights*, which are 0.

# %%
assert found.sizes["z2"] > 0
assert found.sizes["z1"] == found.sizes["copy"] == found.sizes["locked"] == 0

# %% [markdown]
# ✓ In the first step only $\Theta_{z2}$ has a gradient. The door must be opened a little first; then those behind it begin to learn.
#
# ## The first training steps
#
# Train the block, and measure after each step how far the weights of each part are from where they began.

# %%
block = wb.lessons.ControlledBlock(F, x=8, c=3, y=8)
moved = wb.lessons.train(block, x, c, wanted, steps=60)
wb.lessons.training_figure(moved)

# %%
assert (moved["locked"] == 0).all()
assert moved.loc[1, "z2"] > 0 and moved.loc[1, "copy"] == moved.loc[1, "z1"] == 0
assert moved.loc[2, "copy"] > 0 and moved.loc[2, "z1"] > 0
assert moved["loss"].iloc[-1] < 0.2 * moved["loss"].iloc[0]
moved.head(4).round(4)

# %% [markdown]
# ✓ The locked block has not moved at all.
#
# ✓ After step 1 only $\Theta_{z2}$ has moved; from step 2 on everything moves that may.
#
# ✓ After 60 steps the loss is less than a fifth of what it was.
#
# ## What if they do not start at zero?
#
# Most networks start from random weights: from a **Gaussian** distribution (a bell curve) around 0. Its *standard deviation* says how far the numbers lie from 0. Why not here? Ask one block first: how far is its output from the right one before it has learnt anything?

# %%
def error_at_start(std):
    started = wb.lessons.ControlledBlock(F, x=8, c=3, y=8, std=std)
    return ((started(x, c) - y).norm() / y.norm()).item()


errors = {std: error_at_start(std) for std in (0, 0.01, 0.1, 1)}
assert errors[0] == 0
assert errors[0] < errors[0.01] < errors[0.1] < errors[1] and errors[1] > 1
{std: f"{100 * error:.2f} %" for std, error in errors.items()}

# %% [markdown]
# ✓ With zeros the error is 0. It grows with the standard deviation, and at 1 it is larger than the output itself.
#
# And in a whole network? Below is a real ControlNet **before any training**, on the small model that comes with this project: its encoder is a copy of the model's, which can draw. It has one zero convolution for each of its seven outputs, and one at the end of the part that reads the condition. Let us start all of them from a Gaussian instead, and look at the picture. Move the slider (or press the arrow keys).

# %%
request = wb.lessons.Request(prompt="a girl, long hair, blond hair, black coat, winter, snow")
text_only = wb.lessons.text_picture(request)
STANDARD_DEVIATIONS = [0, 0.003, 0.01, 0.03, 0.1, 0.3]
started = {
    std: wb.lessons.picture(request, wb.lessons.untrained(std)) for std in STANDARD_DEVIATIONS
}


def show(standard_deviation):
    head = f"start with std {standard_deviation}"
    return wb.lessons.pictures_figure({"text only": text_only, head: started[standard_deviation]})


wb.slider(show, standard_deviation=STANDARD_DEVIATIONS)

# %%
apart = {std: wb.lessons.difference(text_only, made) for std, made in started.items()}
assert (started[0] == text_only).all()
assert all(apart[std] > 0 for std in STANDARD_DEVIATIONS[1:])
assert apart[0.3] > 10 * apart[0.003]
{std: round(value, 3) for std, value in apart.items()}

# %% [markdown]
# ✓ With zero convolutions the picture is that of the text alone, equal in every pixel.
#
# ✓ With any other start it is another picture, and with a large standard deviation it has decayed: the model can draw no more. (The numbers are root mean square differences of the pixels: 0 is equal, 1 is black against white.)
#
# Training would have to repair this damage first, and the copy, which shall stay useful, is damaged on the way. The article compared both starts and chose zero (section on the ablation study).
#
# ## And after training?
#
# The zero convolutions are called so after their *start*. In a trained ControlNet they are not zero any more:

# %%
trained = wb.lessons.models().controlnet("depth")
norms = [layer.weight.norm().item() for layer in wb.lessons.zero_convolutions(trained)]
untrained = wb.lessons.zero_convolutions(wb.lessons.untrained())
assert len(norms) == len(untrained) == 8
assert all(layer.weight.norm().item() == 0 for layer in untrained)
assert all(norm > 0 for norm in norms)
[round(norm, 2) for norm in norms]

# %% [markdown]
# ✓ All eight convolutions that began at zero have learnt weights.
#
# ## Exercises
#
# **1.** Suppose you set the weights of the *copy* to 0 instead of those of the zero convolutions. Would $y_c = y$ hold? Would it learn?
#
# <details><summary>Answer</summary>
#
# It depends on what the block does. If all weights and biases of the copy's last layer are 0 and there is no shortcut, the copy gives 0, and $y_c = y$ holds if $\Theta_{z2}$ has no bias. But the copy was made because its weights *know* something: they have seen billions of pictures. Setting them to 0 throws this away, and one could as well have taken a small new network.
#
# </details>
#
# **2.** Put two zero convolutions one behind the other, $Z(Z(x))$. Can they learn?
#
# <details><summary>Answer</summary>
#
# Almost not. The gradient of the second is upstream · input, but its input is the output of the first, which is 0. The gradient of the first is multiplied by the weights of the second, which are 0. All weights have the gradient 0 and stay where they are: there is no door to open. Only the bias of the second can learn, because its gradient does not depend on the input. Once more: a zero convolution learns because its *input* is not 0.
#
# </details>
#
# **3.** The first zero convolution $\Theta_{z1}$ adds nothing at the start. Is it needed at all for $y_c = y$? Try it: give it random weights and look.
#
# <details><summary>Answer</summary>
#
# The cell below does so: $y_c = y$ still holds, as the second one alone shuts the door. But the copy then sees a disturbed input from the first step on, $x$ + something random. With zeros it first sees exactly the $x$ that it knows.
#
# </details>
#
# **4.** Change `rate` in `wb.lessons.train(block, x, c, wanted, steps=60, rate=0.001)`. Which of the checked sentences stay true?
#
# <details><summary>Answer</summary>
#
# All about *order* stay true: first $\Theta_{z2}$, then the others, and the locked block never. They follow from the structure. That the loss falls below a fifth in 60 steps is a fact about this rate only.
#
# </details>

# %%
block = wb.lessons.ControlledBlock(F, x=8, c=3, y=8)
block.z1 = wb.lessons.convolution(3, 8, std=1.0)
assert (block(x, c) == y).all()

# %% [markdown]
# In the [next lesson](lesson_2_in_stable_diffusion.ipynb) this block is put into the whole network: twelve times and once more.
