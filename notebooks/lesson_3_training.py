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
# # Lesson 3: training
#
# In [lesson 1](lesson_1_block.ipynb) a block learnt a toy task, in [lesson 2](lesson_2_in_stable_diffusion.ipynb) you saw where the blocks stand. Now train a whole ControlNet, **from zero**, and watch the moment in which it begins to obey.
#
# It learns beside the small model that comes with this project, with the same program that trains ControlNets for Stable Diffusion (`workbench train controlnet`). Two trainings of a few minutes are made here. Both learn from the same scenes. They are kept in `runs/`: the second time it goes fast. Sentences that begin with ✓ are checked by the code above them.
#
# "The article" is Lvmin Zhang, Anyi Rao and Maneesh Agrawala, *Adding Conditional Control to Text-to-Image Diffusion Models* (2023), section 3.3.
#
# > **Words of this lesson**
# >
# > | word | what it means | Deutsch | 中文 |
# > |---|---|---|---|
# > | noise | random numbers; a diffusion model learns to find them in a picture | Rauschen | 噪声 |
# > | time step | how much noise there is: 0 is hardly any, 999 is nearly nothing else | Zeitschritt | 时间步 |
# > | objective | the number that training makes smaller | Zielfunktion | 目标函数 |
# > | batch | the pictures that are looked at together in one training step | Stapel | 批次 |
# > | training step | one small change of all weights | Trainingsschritt | 训练步 |
# > | learning rate | how large that change is | Lernrate | 学习率 |
# > | prompt dropping | putting the empty prompt in the place of some prompts | Weglassen des Prompts | 丢弃提示词 |
# > | adherence | how well the map is followed: 0 is chance, 1 is the best that can be measured | Befolgung | 遵循度 |
# > | sudden convergence | the ControlNet begins to obey within a few steps | plötzliche Konvergenz | 突然收敛 |
# > | change point | where a curve goes from one level to another | Umbruchstelle | 变点 |
# > | interval | where the true value lies, as far as the data can say (with 95 % confidence) | Intervall | 置信区间 |

# %%
import workbench as wb

# %% [markdown]
# ## What is to be learnt
#
# Take a picture, or rather its latent $z_0$. Mix it with noise $\epsilon$; the time step $t$ says how much. The result is $z_t$. The network sees $z_t$, $t$, the prompt $c_t$ and the control map $c_f$, and shall find the noise. How wrong it is, is the **objective**:
#
# $$L = \mathbb{E}\,\lVert \epsilon - \epsilon_\theta(z_t, t, c_t, c_f) \rVert^2$$
#
# $\mathbb{E}$ means: on average over pictures, noise and time steps. It is the objective of the base model itself, with $c_f$ added. Nobody tells the ControlNet "follow the map". It follows because the map helps to find the noise.
#
# Here is one batch, as the trainer makes it. $\bar\alpha_t$ says how much of the picture is left at time step $t$.

# %%
batch = wb.lessons.batch(wb.lessons.Training(control="depth", batch=8), seed=1)
mixed = batch.kept.sqrt() * batch.z0 + (1 - batch.kept).sqrt() * batch.eps
assert (batch.zt - mixed).abs().max() < 1e-5

untrained_loss = (batch.predicted - batch.target).square().mean()
base_loss = (batch.without - batch.target).square().mean()
assert untrained_loss == base_loss > 0
float(base_loss)

# %% [markdown]
# ✓ $z_t = \sqrt{\bar\alpha_t}\,z_0 + \sqrt{1-\bar\alpha_t}\,\epsilon$.
#
# ✓ With an untrained ControlNet the loss is that of the base model alone, equal in every digit: its zero convolutions add nothing.
#
# One thing is different from the formula. Our small base model does not predict $\epsilon$ itself, but the *velocity* $v = \sqrt{\bar\alpha_t}\,\epsilon - \sqrt{1-\bar\alpha_t}\,z_0$, as some newer models do. A ControlNet always learns with the objective of **its** base model. Is that another objective?

# %%
v = batch.kept.sqrt() * batch.eps - (1 - batch.kept).sqrt() * batch.z0
assert (batch.target - v).abs().max() < 1e-5

eps_found = batch.kept.sqrt() * batch.predicted + (1 - batch.kept).sqrt() * batch.zt
error_in_eps = (batch.eps - eps_found).square()
error_in_v = (v - batch.predicted).square()
assert (error_in_eps - batch.kept * error_in_v).abs().max() < 1e-4

# %% [markdown]
# ✓ The target is $v$.
#
# ✓ Who predicts $v$ has predicted $\epsilon$ too, and $\lVert\epsilon-\epsilon_\theta\rVert^2 = \bar\alpha_t\,\lVert v-v_\theta\rVert^2$. It is the same error with another weight for each time step.
#
# ## Half of the prompts are dropped
#
# The prompt tells much of what is in the picture. If the network can find the noise with the help of the words, why should it look at the map? So the article replaces **half of the prompts by the empty one**. Then only the map is left.

# %%
captions = ["a girl, long hair, snow"] * 1000
half = wb.lessons.dropped(captions, 0.5, seed=1).count("")
none = wb.lessons.dropped(captions, 0.0, seed=1).count("")
assert 450 < half < 550 and none == 0
assert "" in batch.text and set(batch.text) != {""}
batch.text

# %% [markdown]
# ✓ Of 1000 prompts about half are dropped, or none if we ask for none.
#
# ✓ In the batch above there are empty prompts and others.
#
# ## Train
#
# Choose a control type, and run the cell. While it trains, you see the loss, the adherence, and one fixed picture, which is drawn anew at each look with the same noise and the same prompt. Adherence is measured on eight scenes from which the network does not learn.
#
# `depth` learns fast, `canny` needs longer (you will see how much): try it at home.
#
# One thing is not in the article. At first the condition encoder sees nothing: it is behind a zero convolution, and only what comes through that one tells it what to look for. To see it learn in two minutes, we help it: a small layer, the *reader*, must find the clean latent in what the encoder says, and this error is added to the objective with a weight of 0.05 (`reader=0.05`). The reader is thrown away afterwards. `reader=0` is the training of the article.
#
# (Where the environment variable `WORKBENCH_SHORT_LESSONS` is set, two steps are made instead of 90, and two scenes are looked at. That is for testing this notebook. All sentences below hold then, too, but there is little to see.)

# %%
CONTROL = "depth"
training = wb.lessons.Training(control=CONTROL, steps=90, every=10, drop=0.5)
learnt = wb.lessons.learn(training, "../runs/lesson-3-dropped", wb.redrawn())

# %%
assert learnt.steps == learnt.training.steps
assert learnt.log["loss"].dropna().gt(0).all()
looked = sorted(set(learnt.looks["step"]))
assert looked == list(range(0, learnt.training.steps + 1, learnt.training.every))
zeros = wb.lessons.zero_convolutions(learnt.controlnet())
assert all(layer.weight.norm() > 0 for layer in zeros)
learnt.looks.groupby("step")["adherence"].mean().round(2)

# %% [markdown]
# ✓ All steps were taken, and the ControlNet was looked at before the first step, in regular distances, and after the last.
#
# ✓ No zero convolution is zero any more.
#
# Look at the loss: it jumps up and down, and hardly falls. Each batch has other pictures and other time steps, and noise is easy to find at some time steps and hard at others. **From the loss one cannot see whether a ControlNet obeys.** That is why the trainer draws and measures while it trains.
#
# Move the slider to walk through the training.


# %%
def show(step):
    return wb.lessons.pictures_figure(learnt.picture(step))


wb.slider(show, step=looked)

# %% [markdown]
# ## The moment in which it begins to obey
#
# The article saw that a ControlNet does not learn little by little: for a long time nothing happens, and then, within a few steps, it follows. It called this **sudden convergence**. Is it so here, and when?
#
# Do not trust your eye alone. A *change point* is found: the curve is cut in two, so that each part lies as near as possible to its own mean. Then three questions: does adherence rise? Would looks in a random order show a change as clear as this one? Would a straight line, a slow rise, fit better? The place is found again and again with other choices among the eight scenes, which gives an interval.

# %%
moment = wb.lessons.sudden_convergence(learnt.looks)
print(moment.text)
reached = learnt.looks[learnt.looks["step"] == looked[-1]]["adherence"].mean()
print(f"After {looked[-1]} steps adherence is {reached:.2f}.")
if moment.found:
    assert moment.after > moment.before and moment.p < 0.05
    assert 0 <= moment.low < moment.high <= looked[-1]
else:
    assert moment.why
wb.lessons.learning_figure(learnt.log, moment=moment)

# %% [markdown]
# ✓ Where the sentence names a moment, adherence is higher after it, and chance would seldom show the like. Where it names none, it says why. The grey band is the interval; it is never narrower than the distance between two looks.
#
# ## A longer training
#
# A few minutes are short. ControlNets of the same two types were trained for longer when this project was made: with 32 pictures in each batch, on 8000 scenes. Their curves were kept.

# %%
longer = wb.lessons.longer_training("depth")
later = wb.lessons.sudden_convergence(longer)
print("depth:", later.text)
of_canny = wb.lessons.sudden_convergence(wb.lessons.longer_training("canny"))
print("canny:", of_canny.text)
assert later.found and (later.low, later.high) == (50, 100)
assert of_canny.found and (of_canny.low, of_canny.high) == (200, 300)
assert longer["adherence"].iloc[0] < 0.3 and longer["adherence"].iloc[-1] > 0.8
wb.lessons.learning_figure(longer, moment=later)

# %% [markdown]
# ✓ Depth begins below 0.3, jumps between steps 50 and 100, and ends above 0.8. After the jump it still learns, but slowly.
#
# ✓ Canny jumps between steps 200 and 300. Thin lines are harder to learn than surfaces.
#
# To train one yourself for as long as you like, type in a shell: `workbench train controlnet --family paperdoll --control depth --data paperdoll --rate 1e-3 --batch-size 16 --reader 0.05`. Ctrl-C stops it, and the same command goes on.
#
# ## And if no prompt is dropped?
#
# The same training once more, with one change: `drop=0`.

# %%
undropped = wb.lessons.Training(control=CONTROL, steps=90, every=30, drop=0.0)
other = wb.lessons.learn(undropped, "../runs/lesson-3-undropped", wb.redrawn())
assert other.steps == learnt.steps

# %% [markdown]
# ✓ Both took the same number of steps.
#
# How far have they come? Here are the steps at which both were looked at.

# %%
both = {"half dropped": learnt, "none dropped": other}
curves = {name: one.looks.groupby("step")["adherence"].mean() for name, one in both.items()}
shared = sorted(set(curves["half dropped"].index) & set(curves["none dropped"].index))
assert {0, other.steps} <= set(shared)
assert abs(curves["half dropped"][0] - curves["none dropped"][0]) < 0.01
{name: {step: round(float(curve[step]), 2) for step in shared} for name, curve in curves.items()}

# %% [markdown]
# ✓ Both begin at the same height: a ControlNet that adds nothing.
#
# What becomes of an **empty prompt**? Draw the eight scenes again, without a word, with both ControlNets. What they follow now, they have read from the map alone.

# %%
empty = {
    name: one.follows(prompt="").set_index("picture")["adherence"] for name, one in both.items()
}
apart = wb.lessons.compare(empty["half dropped"], empty["none dropped"])
print({name: round(float(values.mean()), 2) for name, values in empty.items()})
print(apart.text)
clear = not apart.low <= 0 <= apart.high
assert clear == (apart.direction != "no clear difference")

# %% [markdown]
# ✓ Where the interval holds 0, the sentence says *no clear difference*, and only there.
#
# Which did you get? Dropping costs something, too: half of the steps are made without the words, and are harder. Compare the two curves above: which one obeyed first? A short training may show this cost alone; what dropping is *for* can only show once both obey. Eight scenes and one training each cannot settle more: trained from another start, both would come out otherwise.
#
# ## Exercises
#
# **1.** At the very beginning, why is adherence not exactly 0?
#
# <details><summary>Answer</summary>
#
# The prompt alone tells something about the picture. A girl in a coat has roughly the depth of another girl in a coat. 0 is the agreement with *other* scenes' maps, so a picture with the right words is often a little better than that.
#
# </details>
#
# **2.** Set `rate=0.00001`, as is usual for Stable Diffusion. What do you expect after 90 steps?
#
# <details><summary>Answer</summary>
#
# Nothing to be seen. A zero convolution starts at 0, and each step changes a weight by about the learning rate: after 90 steps by 0.001 at most. The large models are trained for many thousand steps. Our small one bears a large rate, and so it shows in minutes what takes them days.
#
# </details>
#
# **3.** Somebody shows you a loss curve that falls smoothly, and says: "My ControlNet is nearly done." What do you ask for?
#
# <details><summary>Answer</summary>
#
# For the adherence, on pictures from which it did not learn. The loss is an average over all time steps, and most of it has nothing to do with the map. A smooth curve is an average over many batches.
#
# </details>
#
# **4.** Give `sudden_convergence` the table of the longer training without its first three rows. What does it say, and is it right?
#
# <details><summary>Answer</summary>
#
# Try it: `wb.lessons.sudden_convergence(longer[3:])`. Only what happened is in the data: who begins to look after the jump, sees no jump, or takes the end of the rise for it. A change point is a statement about a curve that was looked at often enough.
#
# </details>
#
# In the [next lesson](lesson_4_prompt_against_control.ipynb) the finished ControlNets are set against the prompt.
