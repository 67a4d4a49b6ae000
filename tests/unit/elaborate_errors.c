/* Every diagnostic of the elaborator, each with a text that asks for it. */
#include "tests/net_case.h"
#include "tests/unit/check.h"

struct mistake {
    const char *code, *words, *text;
};

#define MODEL(body) "model (x: f32[batch, 8], label: class(10)[batch]) {\n" body "\n}\n"
#define TRAIN(body) "\ntrain {\n batch 4\n steps 10\n" body "\n}\n"
/* Two layers, a and b, and what the train block says. */
#define TWO(body) MODEL("loss = mean(x |> linear(3) as a |> linear(1) as b)") TRAIN(body)

static const struct mistake mistakes[] = {
    /* shapes and types */
    {"E0201", "shapes do not broadcast: [4, 8] and [4, 10]", MODEL("y = x + linear(x, 10)")},
    {"E0202", "squeeze: axis 1 of [4, 8] has not size 1", MODEL("y = squeeze(x, 1)")},
    {"E0202", "along: [8] does not lie along axis 1 of [4, 3]",
     MODEL("param b: [8] ~ zeros; y = along(b, linear(x, 3))")},
    {"E0202", "reshape: [4, 8] has 32 elements, [4, 7] has 28", MODEL("y = reshape(x, [batch, 7])")},
    {"E0203", "matmul: inner dimensions differ: [4, 8] @ [4, 8]", MODEL("y = x @ x")},
    {"E0204", "a condition must be made of truth values", MODEL("y = if x then x else 0")},
    {"E0204", "`and` needs truth values", MODEL("y = x > 0 and x")},
    {"E0204", "`any` needs truth values", MODEL("y = any(x)")},
    {"E0202", "must be bool and their last two axes have one size, not f32 [4, 8]", MODEL("y = suppressed(x)")},
    {"E0204", "an index must be made of integers", MODEL("y = gather(x, x)")},
    {"E0204", "there is no element type `f31`", "module m(x: f31[a]) { return x }\n" MODEL("y = m(label)")},
    {"E0204", "the number 3000000000 beside i32: i32 holds numbers", "model (n: i32[batch]) { y = n + 3000000000 }\n"},
    {"E0204", "the number -3000000000 beside u8", "model (n: u8[batch]) { y = if n > 3 then n else 0 - 3000000000 }\n"},
    {"E0205", "an index of a class is no amount", MODEL("y = label + 1")},
    {"E0205", "an index of a class is no amount", MODEL("y = mean(label)")},
    {"E0205", "an index of a class is no amount", MODEL("y = tile(label, [2]) + 1")},
    {"E0205", "an index of a class is no amount", MODEL("y = pad(label, 1, axis = 0) + 1")},
    {"E0205", "an index of a class is no amount", MODEL("y = (if label > 3 then label else 0) + 1")},
    {"E0205", "an index of a class is no amount", MODEL("y, i = sort(label)")},
    {"E0205", "a choice of a class(10) tensor of shape [4] and of a tensor i32[4]",
     MODEL("y = if label > 3 then label else argmax(x)")},
    {"E0205", "indices of 10 and of 3 classes are not comparable",
     "model (a: class(10)[batch], b: class(3)[batch]) { y = a == b }\n"},
    {"E0205", "an index of 10 classes into 5 places", MODEL("loss = cross_entropy(linear(x, 5), label)")},
    {"E0206", "`batch` would come to stand on two axes: [4, 1] and [4]",
     MODEL("y = linear(x, 1) - mean(x, axis = 1) |> "
           "squeeze(1)\n z = linear(x, 1) - "
           "argmax(x)")},
    {"E0207", "`b` has 8 where k = 4 is wanted", "module m(a: [k, n], b: [.., k]) { return a }\n" MODEL("y = m(x, x)")},
    {"E0207", "`c` of `f` is the number 5, but the dimension of this name is 8",
     "function f(x: [b, c], c = 5) { return x * c }\n" MODEL("y = f(x)")},
    {"E0207", "`c` of `f` is the number 7, but the dimension of this name is 8",
     "function f(x: [b, c], c = 8) { return x * c }\n" MODEL("y = f(x)\nz = f(x, 7)")},
    {"E0410", "max_pool: pad must be at most half of the kernel",
     MODEL("y = max_pool(reshape(x, [batch, 1, 2, 4]), 2, pad = [1, 2])")},
    {"E0410", "conv: groups must be at least 1, not 0",
     MODEL("y = conv(reshape(x, [batch, 2, 2, 2]), 4, 1, groups = 0)")},
    {"E0410", "conv_transpose: groups must be at least 1, not 0",
     MODEL("y = conv_transpose(reshape(x, [batch, 2, 2, 2]), 4, 1, groups = 0)")},
    {"E0410", "group_norm: groups must be at least 1, not 0", MODEL("y = group_norm(x, 0)")},
    {"E0410", "local_response_norm: size must be at least 1, not 0", MODEL("y = local_response_norm(x, 0)")},
    {"E0410", "upsample: factor must be at least 1, not 0", MODEL("y = upsample(reshape(x, [batch, 2, 2, 2]), 0)")},
    {"E0410", "upsample: factor must be at least 1", MODEL("y = upsample(reshape(x, [batch, 2, 2, 2]), [2, 0])")},
    {"E0410", "top_k_accuracy: k must lie between 1 and the number of classes, not 11",
     MODEL("metric m = top_k_accuracy(linear(x, 10), label, 11)")},
    {"E0410", "smooth_l1: beta must be at least 0", MODEL("y = smooth_l1(x, x, beta = -1)")},
    {"E0410", "sgd: nesterov needs a momentum", TWO("minimize loss with sgd(lr = 1, nesterov = true)")},
    {"E0410", "sgd: momentum must be at least 0, not -1", TWO("minimize loss with sgd(lr = 1, momentum = -1)")},
    {"E0410", "adam: beta1 must be at least 0 and below 1, not 1", TWO("minimize loss with adam(lr = 1, beta1 = 1)")},
    {"E0410", "adam: eps must be at least 0, not -1", TWO("minimize loss with adam(lr = 1, eps = -1)")},
    {"E0410", "adamw: beta2 must be at least 0 and below 1, not -0.5",
     TWO("minimize loss with adamw(lr = 1, beta2 = -0.5)")},
    {"E0410", "lamb: beta2 must be at least 0 and below 1, not 2", TWO("minimize loss with lamb(lr = 1, beta2 = 2)")},
    {"E0410", "lion: beta1 must be at least 0 and below 1, not 1", TWO("minimize loss with lion(lr = 1, beta1 = 1)")},
    {"E0410", "rmsprop: alpha must be at least 0 and below 1, not 1", TWO("minimize loss with rmsprop(alpha = 1)")},
    {"E0410", "cosine: total must be above 0, not 0", TWO("minimize loss with sgd(lr = cosine(step, 0))")},
    {"E0410", "linear_decay: total must be above 0, not 0", TWO("minimize loss with sgd(lr = linear_decay(step, 0))")},
    {"E0410", "step_decay: every must be above 0, not 0", TWO("minimize loss with sgd(lr = step_decay(step, 0))")},
    {"E0410", "k must lie between 1 and the size of the axis, not 9", MODEL("y, i = top_k(x, 9)")},
    {"E0410", "as many queries as keys, not 4", MODEL("y = attention(x, x[0:1], x[0:1], causal = true)")},
    {"E0402", "output_pad must be below the stride, which is 2, not 2",
     MODEL("y = reshape(x, [batch, 2, 2, 2]) |> conv_transpose(3, 2, stride = 2, output_pad = 2)")},
    {"E0402", "kernel, stride and dilation must be at least 1",
     MODEL("y = conv(reshape(x, [batch, 2, 2, 2]), 3, 1, stride = 0)")},
    {"E0402", "kernel, stride and dilation must be at least 1", MODEL("y = window(x, [1, 0])")},
    {"E0210", "gives a side of -1", MODEL("y = reshape(x, [batch, 2, 2, 2]) |> conv_transpose(3, 2, pad = 2)")},
    {"E0211", "needs an image and a weight of four axes, not [4, 8] and [4, 8]",
     MODEL("y = convolve_transposed(x, x)")},
    {"E0202", "do not fit in 3 groups",
     MODEL("param w: [2, 2, 1, 1] ~ ones; y = reshape(x, [batch, 2, 2, 2]) |> convolve_transposed(w, groups = 3)")},
    {"E0402", "quotient(8, 0) is not defined", MODEL("y = x * quotient(8, 0)")},
    {"E0208", "8 / 3 leaves a rest of 2",
     "module m(x: [.., k]) { return reshape(x, [k / 3, -1]) }\n" MODEL("y = m(x)")},
    {"E0208", "a size must be a whole number, not 2.5", MODEL("y = zeros([2.5])")},
    {"E0209", "there is no axis 2 among 2", MODEL("y = sum(x, axis = 2)")},
    {"E0209", "`sum` is given axis 1 twice", MODEL("y = sum(x, axis = [1, -1])")},
    {"E0209", "`squeeze` is given axis 0 twice", MODEL("y = squeeze(sum(x, axis = 0), [0, 0])")},
    {"E0209", "index 8 is outside of axis 1, which has 8 places", MODEL("y = x[:, 8]")},
    {"E0208", "one size alone may be -1", MODEL("y = reshape(x, [-1, -1])")},
    {"E0208", "reshape: 32 elements do not divide by 1e+21", MODEL("y = reshape(x, [1000000000, 1000000000000, -1])")},
    {"E0210", "the most is 2^40", MODEL("y = tile(x, [1000000000000, 1000000000000])")},
    {"E0210", "the most is 2^40", MODEL("y = zeros([1000000000, 1]) @ zeros([1, 1000000000])")},
    {"E0210", "the most is 2^40", MODEL("y = zeros([2, 1000000000, 1]) @ zeros([2, 1, 1000000000])")},
    {"E0210", "the most is 2^40", MODEL("y = zeros([1000000, 1, 1, 1000]) @ zeros([1000000, 1000, 1])")},
    {"E0210", "the most is 2^40", MODEL("y = zeros([1000000000000, 1000000000000, 0])")},
    {"E0202", "there is nothing to choose from: [4, 0] has no elements", MODEL("y = max(x[:, 0:0], axis = 1)")},
    {"E0202", "there is nothing to choose from: [4, 0] has no elements", MODEL("y = min(x[:, 0:0])")},
    {"E0202", "there is nothing to choose from: [4, 0] has no elements", MODEL("y = argmax(x[:, 0:0])")},
    {"E0210", "a parameter of shape [0, 8] has no elements", MODEL("y = linear(x, 0)")},
    {"E0210", "the most is 2^40", MODEL("y = zeros([1000000, 1000000, 1000000])")},
    {"E0210", "which is no size of an axis", MODEL("y = zeros([-3])")},
    {"E0211", "`x` has the shape [4, 8], but [b, c, h, w] is wanted", MODEL("y = conv(x, 3, 3)")},
    {"E0211", "too many indices", MODEL("y = x[0, 0, 0]")},
    /* names */
    {"E0301", "there is no value `x`", "model (x: [batch, x]) { loss = mean(x) }\n"},
    {"E0401", "a size must be known at compile time", "model (y: [batch, 3], x: [batch, y]) { loss = mean(x) }\n"},
    {"E0301", "there is no module, function or label `s`", MODEL("state s = s\nloss = mean(x)")},
    {"E0301", "there is no value `s`", MODEL("state s = s + 1\nloss = mean(x)")},
    {"E0302", "`b.a.weight` is declared already, by another instance",
     "module block(x) { return x |> linear(8) as a }\n" MODEL("y = x |> linear(8) as b.a |> block as b")},
    {"E0302", "`L.0.weight` is declared already, by another instance",
     MODEL("repeat i in 0..2 as L { param weight: [8, 8] ~ zeros\nx = x |> linear(8) }")},
    {"E0302", "`b.a.mean` is declared already, by another instance",
     "module inner(x) { state mean = 0\nreturn x + mean }\nmodule outer(x) { return x |> inner as a }\n" MODEL(
         "y = x |> inner as b.a |> outer as b")},
    {"E0301", "there is no value `widht`", "option width = 3\n" MODEL("y = linear(x, widht)")},
    {"E0301", "did you mean `linear`?", MODEL("y = x |> linaer(3)")},
    {"E0302", "`f` is defined twice", "function f(x) { return x }\nfunction f(x) { return x }\n" MODEL("y = f(x)")},
    {"E0302", "two inputs are called `x`", "model (x: [batch, 3], x: [batch, 4]) { loss = mean(x) }\n"},
    {"E0302", "two parameters are called `x`", "function f(x, x) { return x }\n" MODEL("y = f(x, 2)")},
    {"E0504", "input `x` comes with the data: it has no default", "model (x: [batch, 3] = 1) { loss = mean(x) }\n"},
    {"E0302", "`w` is declared already", MODEL("param w: [3] ~ zeros; param w: [3] ~ zeros")},
    {"E0302", "`a` is declared already", MODEL("metric a = mean(x); metric a = mean(x)")},
    {"E0302", "`loss` is what is minimised: the metric needs another name",
     MODEL("loss = mean(x); metric loss = mean(x)")},
    {"E0210", "class(n) needs a number of classes", "model (a: class[batch]) { y = a }\n"},
    {"E0303", "the label `a` is taken", MODEL("y = linear(x, 8) as a |> linear(8) as a")},
    {"E0303", "`a` is a label: its instance cannot have another", MODEL("y = linear(x, 8) as a |> a as b")},
    {"E0304", "is a label here and a module too", MODEL("y = linear(x, 8) as linear |> linear(8)")},
    {"E0305", "`linear` has no parameter `bais`", MODEL("y = linear(x, 8, bais = false)")},
    {"E0305", "note: `linear` takes (x, n, bias?)", MODEL("y = linear(x, 8, activation = 1)")},
    {"E0306", "note: `linear` takes (x, n, bias?)", MODEL("y = linear(x)")},
    {"E0307", "note: `relu` takes (x)", MODEL("y = relu(x, 1)")},
    {"E0306", "note: `sgd` takes (lr, momentum?, weight_decay?, nesterov?)", TWO("minimize loss with sgd")},
    {"E0301", "note: `unsqueeze(x, axis)` inserts an axis of size 1", MODEL("y = x[:, None]")},
    {"E0301", "note: write `false`", MODEL("y = linear(x, 3, bias = False)")},
    {"E0301", "note: a value has no members; functions take it: `shape(x)`", MODEL("y = x.shape")},
    {"E0402", "`concat` takes its axis by name: `axis = 1`", MODEL("y = concat(x, x, 1)")},
    {"E0402", "`stack` takes its axis by name: `axis = -1`", MODEL("y = stack([x, x], -1)")},
    {"E0306", "`linear` needs `n`", MODEL("y = linear(x)")},
    {"E0306", "`m` needs `h`", "module m(x, h) { return x + h }\n" MODEL("y = m(x, x) as a\nz = x |> a")},
    {"E0307", "`relu` takes at most 1", MODEL("y = relu(x, 1)")},
    {"E0308", "`y` is a tensor f32[4, 8], nothing to be called", MODEL("y = x; z = y(x)")},
    {"E0308", "`adam` is an optimizer", MODEL("y = adam(x, x)")},
    /* modules and values */
    {"E0401", "the condition of an `if` statement must be known at compile time", MODEL("if mean(x) > 0 { y = x }")},
    {"E0402", "`not` is not defined for the number 3", MODEL("y = not 3")},
    {"E0402", "a list is indexed by a number; only tensors have slices", MODEL("s = shape(x)\ny = zeros(s[0:1])")},
    {"E0402", "`==` is not defined for a list and a list", MODEL("if [x, x] == [x + 1, x] { y = x }")},
    {"E0402", "`max` needs a tensor or a number, not a truth value",
     "option a = max(1, true)\n" MODEL("loss = mean(x)")},
    {"E0402", "`min` needs a tensor or a number, not a string", MODEL("y = x * min(\"a\", 1)")},
    {"E0204", "a condition must be made of truth values, not the number 1",
     "option a = where(1, 2, 3)\n" MODEL("loss = mean(x)")},
    {"E0402", "`max` needs a tensor or a number, not a truth value", TWO("rate = max(1, true)")},
    {"E0403", "`a` calls itself", "module a(x) { return b(x) }\nmodule b(x) { return a(x) }\n" MODEL("y = a(x)")},
    {"E0405", "cannot read `nowhere.net`", "import \"nowhere.net\"\n" MODEL("y = x")},
    {"E0406", "the most is 1000000 in all", MODEL("repeat i in 0..100000000 { y = x }")},
    {"E0408", "only the model and modules have params",
     "function f(x) { param w: [3] ~ zeros\n return w }\n" MODEL("y = f(x)")},
    {"E0408", "`linear` is a module", "function f(x) { return linear(x, 3) }\n" MODEL("y = f(x)")},
    {"E0408", "`x` is no param or state", MODEL("x <- x + 1")},
    {"E0408", "`metric` stands in the model", "function f(x) { metric a = x\n return x }\n" MODEL("y = f(x)")},
    {"E0409", "`f` returns nothing", "function f(x) { y = x }\n" MODEL("y = f(x)")},
    {"E0410", "dropout: p must be at least 0 and below 1, not 1.5", MODEL("y = dropout(x, 1.5)")},
    {"E0412", "`a.weight` was [8, 8] when it was made", MODEL("y = linear(x, 8) as a\n z = a(linear(x, 3))")},
    {"E0413", "takes values of a batch beside totals of all", MODEL("metric m = total(sum(x)) / sum(x)")},
    {"E0413", "2 names for 1 value", MODEL("a, b = x")},
    {"E0413", "1 name for 2 values", "function f(x) { return x, x }\n" MODEL("a = f(x)")},
    /* the train block */
    {"E0501",
     "note: the optimizer takes it: `minimize loss with adam(lr = ", MODEL("loss = mean(x)") "train { lr 0.1 }\n"},
    {"E0501", "did you mean `batch`?", MODEL("loss = mean(x)") "train { bacth 4 }\n"},
    {"E0502", "`batch` is given twice", MODEL("loss = mean(x)") "train { batch 4\n batch 5 }\n"},
    {"E0503", "it is written without `=`", MODEL("loss = mean(x)") "train { batch = 4 }\n"},
    {"E0503", "`batch` must be from 1", MODEL("loss = mean(x)") "train { batch 0 }\n"},
    {"E0503", "the unit of an interval is epochs or steps",
     MODEL("loss = mean(x)") "train { evaluate every 5 days }\n"},
    {"E0504", "m.net:3:1: error[E0504]: loss `loss` must be a scalar", MODEL("y = x * 2\nloss = y")},
    {"E0211", "m.net:2:14: error[E0211]: `x` has the shape [4, 8], but [b, c, h, w] is wanted",
     MODEL("y = max_pool(x, 2)")},
    {"E0208", "the interval must be a whole number, not 0.5",
     MODEL("loss = mean(x)") "train { evaluate every 0.5 epoch }\n"},
    {"E0208", "epochs must be a whole number, not 1.5", MODEL("loss = mean(x)") "train { epochs 1.5 }\n"},
    {"E0504", "loss `loss` must be a scalar, but it has the shape [4, 8]", MODEL("loss = x")},
    {"E0504", "the first axis of input `b` must be `batch`", "model (a: [batch], b: [3]) { y = a }\n"},
    {"E0505", "nothing trains parameter `linear1.bias`",
     MODEL("loss = mean(linear(x, 1))") TRAIN("minimize loss over \"*.weight\" with sgd(lr = 1)")},
    {"E0506", "this override matches no parameter",
     MODEL("loss = mean(linear(x, 1))") TRAIN("minimize loss with sgd(lr = 1) { lr = 2 for \"head.*\" }")},
    {"E0506", "this pattern of `freeze` matches no parameter",
     MODEL("loss = mean(linear(x, 1))") TRAIN("minimize loss with sgd(lr = 1)\n"
                                              "freeze \"head.*\"")},
    {"E0506", "this pattern of `freeze` matches no parameter",
     TWO("minimize loss with sgd(lr = 1)\nfreeze \"a.*\", \"c.*\"")},
    {"E0506", "note: each pattern is a string of its own", TWO("minimize loss over \"a.*, b.*\" with sgd(lr = 1)")},
    {"E0506", "note: each pattern is a string of its own",
     TWO("minimize loss with sgd(lr = 1) { lr = 2 for \"a.weight,b.weight\" }")},
    {"E0506", "note: each pattern is a string of its own",
     TWO("minimize loss with sgd(lr = 1)\nfreeze \"a.weight,a.bias\"")},
    {"E0505", "`a.weight` is trained by two lines of one phase",
     TWO("minimize loss with sgd(lr = 1)\nminimize loss over \"a.*\" with sgd(lr = 2)")},
    {"E0505", "nothing trains parameter `b.bias`",
     TWO("minimize loss over \"a.*\" with sgd(lr = 1)\nthen minimize loss over \"b.weight\" with sgd(lr = 2)")},
    {"E0506", "this pattern of `over` matches no parameter",
     TWO("minimize loss over \"a.*\", \"c.*\" with sgd(lr = 1)")},
    {"E0503", "`every` must be at least 1, not 0", TWO("minimize loss with sgd(lr = 1) every 0")},
    {"E0401", "`every` must be known at compile time", TWO("minimize loss with sgd(lr = 1) every epoch")},
    {"E0510", "`then` needs the whole batch once more, which `accumulate 2` gives in parts",
     TWO("accumulate 2\nminimize loss over \"a.*\" with sgd(lr = 1)\n"
         "then minimize loss over \"b.*\" with sgd(lr = 1)")},
    {"E0504", "what is minimised must be a floating scalar, not a tensor f32[4, 8]",
     TWO("minimize x with sgd(lr = 1)")},
    {"E0503", "average needs ema(decay)", TWO("minimize loss with sgd(lr = 1)\naverage mean(2)")},
    {"E0503", "the decay of an average lies from 0 to below 1", TWO("minimize loss with sgd(lr = 1)\naverage ema(1)")},
    {"E0503", "only `scale … per loss` takes `per`", TWO("minimize loss with sgd(lr = 1)\nclip norm(1) per loss")},
    {"E0503", "only `scale … per loss` takes `per`", TWO("minimize loss with sgd(lr = 1)\nscale dynamic per line")},
    {"E0503", "clip needs a limit above 0", TWO("minimize loss with sgd(lr = 1)\nclip value(-1)")},
    {"E0503", "clip needs norm(x) or value(x)", TWO("minimize loss with sgd(lr = 1)\nclip 3")},
    {"E0503", "scale rule `fixed` has no state `scale`",
     "scaler fixed(found_inf) { return 8 }\n" TWO("minimize loss with sgd(lr = 1)\nscale fixed")},
    {"E0508", "there is no data source `sheet`; there are idx, csv, npz, npy, safetensors, synthetic",
     MODEL("loss = mean(x)") "train { data sheet(\"f\") }\n"},
    {"E0508", "did you mean `random_crop`?", MODEL("loss = mean(x)") "train { data idx(\"f\") |> random_corp(2) }\n"},
    {"E0503", "normalize has 2 means and 3 deviations",
     MODEL("loss = mean(x)") "train { data idx(\"f\") |> normalize([1, 2], [1, 2, 3]) }\n"},
    {"E0503", "normalize has 0 means and 1 deviations",
     MODEL("loss = mean(x)") "train { data idx(\"f\") |> normalize([], 1) }\n"},
    {"E0503", "normalize needs finite means and deviations above 0",
     MODEL("loss = mean(x)") "train { data idx(\"f\") |> normalize(0.5, [1, 0]) }\n"},
    {"E0401", "`every` must be known at compile time",
     MODEL("loss = mean(x)") "train { evaluate every steps / 10 steps }\n"},
    {"E0401", "`every` must be known at compile time",
     MODEL("loss = mean(x)") "train { checkpoint every steps / 5 steps keep best loss }\n"},
    {"E0401", "`examples` must be known at compile time",
     MODEL("loss = mean(x)") "train { data synthetic(examples = steps, x = normal(0, 1)) }\n"},
    {"E0401", "`path` must be known at compile time", MODEL("loss = mean(x)") "train { data csv(step) }\n"},
    {"E0401", "`mean` must be known at compile time",
     MODEL("loss = mean(x)") "train { data idx(\"f\") |> normalize(step, 1) }\n"},
    {"E0401", "`std` must be known at compile time",
     MODEL("loss = mean(x)") "train { data synthetic(examples = 4, x = normal(0, step)) }\n"},
    {"E0503", "normal needs finite numbers, and a deviation of at least 0",
     MODEL("loss = mean(x)") "train { data synthetic(examples = 4, x = normal(0, -1)) }\n"},
    {"E0503", "uniform needs finite numbers, the first not above the second",
     MODEL("loss = mean(x)") "train { data synthetic(examples = 4, x = uniform(2, 1)) }\n"},
    {"E0509", "the train block needs `epochs` or `steps`",
     MODEL("loss = mean(linear(x, 1))") "train { batch 4\n minimize loss with sgd(lr = 1) }\n"},
    {"E0301", "there is no optimizer `adma`",
     MODEL("loss = mean(linear(x, 1))") TRAIN("minimize loss with adma(lr = 1)")},
    {"E0307", "`o` is called with the parameter and its gradient first: it needs a parameter for each",
     "optimizer o(p) { p <- p }\n" TWO("minimize loss with o(1)")},
    {"E0307", "`s` is called with whether gradients overflowed first: it needs a parameter for it",
     "scaler s() { state scale = 1\nreturn scale }\n" TWO("minimize loss with sgd(lr = 1)\nscale s")},
    {"E0305", "`sgd` has no parameter `beta`",
     MODEL("loss = mean(linear(x, 1))") TRAIN("minimize loss with sgd(lr = 1, beta = 2)")},
    {"E0306", "`sgd` needs `lr`", MODEL("loss = mean(linear(x, 1))") TRAIN("minimize loss with sgd")},
    {"E0410", "dynamic: growth must be above 1, not 1",
     MODEL("loss = mean(linear(x, 1))") TRAIN("minimize loss with sgd(lr = 1)\nscale dynamic(growth = 1)")},
    {"E0401", "told must be known at compile time, but this is a tensor f32[]",
     TWO("minimize loss with sgd(lr = 1)\nscale dynamic(interval = 100 * (epoch + 1))")},
    {"E0401", "told must be known at compile time, but this is a tensor f32[]",
     TWO("minimize loss with sgd(lr = 1)\nscale dynamic(max = loss)")},
    {"E0301", "there is no scale rule `logmin`", TWO("minimize loss with sgd(lr = 1)\nscale logmin")},
    {"E0410", "dynamic: init must be above 0, not 0", TWO("minimize loss with sgd(lr = 1)\nscale dynamic(init = 0)")},
    {"E0410", "dynamic: backoff must lie between 0 and 1, not 1",
     TWO("minimize loss with sgd(lr = 1)\nscale dynamic(backoff = 1)")},
    {"E0410", "dynamic: interval must be at least 1, not 0.5",
     TWO("minimize loss with sgd(lr = 1)\nscale dynamic(interval = 0.5)")},
    {"E0410", "dynamic: min must be above 0 and not above max, not 8",
     TWO("minimize loss with sgd(lr = 1)\nscale dynamic(min = 8, max = 4)")},
    {"E0410", "dynamic: hysteresis must be at least 1, not 0",
     TWO("minimize loss with sgd(lr = 1)\nscale dynamic(hysteresis = 0)")},
    {"E0410", "dynamic: init must lie between 2^-126 and 2^126, not 1e-50",
     TWO("minimize loss with sgd(lr = 1)\nscale dynamic(init = 1e-50, min = 1e-60)")},
    {"E0410", "dynamic: min must lie between 2^-126 and 2^126, not 1e-60",
     TWO("minimize loss with sgd(lr = 1)\nscale dynamic(min = 1e-60)")},
    {"E0410", "static: the scale must lie between 2^-126 and 2^126, not 1e+39",
     TWO("minimize loss with sgd(lr = 1)\nscale static(1e39)")},
    {"E0410", "static: the scale must be above 0, not -2", TWO("minimize loss with sgd(lr = 1)\nscale static(-2)")},
    {"E0410", "logmax: mean_decay must be at least 0 and below 1, not 1",
     TWO("minimize loss with sgd(lr = 1)\nscale logmax(mean_decay = 1)")},
    {"E0302", "the loss `a` is declared already", MODEL("loss a = mean(linear(x, 1))\na = 2 * a\nloss = a")},
    {"E0302", "the loss `loss` is declared already", MODEL("loss loss = mean(linear(x, 1))\nloss = mean(x)")},
    {"E0210", "range: i32 holds numbers up to 2147483647", MODEL("y = range(2147483649)")},
    {"E0402", "note: the shape comes last, or as `shape = [...]`", MODEL("y = normal([batch, 8])")},
    {"E0402", "note: the shape comes last, or as `shape = [...]`", MODEL("y = bernoulli([batch, 8])")},
    {"E0402", "the upper bound must be at least 3, not 1", MODEL("y = uniform(3, 1, [2])")},
    {"E0402", "the upper bound must be finite, not inf", MODEL("y = uniform(0, 1 / 0, [2])")},
    {"E0402", "the deviation must be at least 0, not -1", MODEL("y = normal(0, -1, [2])")},
    {"E0402", "the probability must lie from 0 to 1, not 2", MODEL("y = bernoulli(2, [2])")},
    {"E0410", "huber: delta must be above 0, not 0", MODEL("y = huber(x, x, delta = 0)")},
    {"E0302", "`x` is an input of the model already", MODEL("param x: [8] ~ ones\nloss = mean(x)")},
    {"E0302", "this state would be `train/step`, which is there already: give it another name",
     "scaler s(f) { state scale = 1\nstate step = 0\nreturn scale }\n" TWO("minimize loss with sgd(lr = 1)\nscale s")},
    {"E0302", "this state would be `train/overflow`, which is there already: give it another name",
     "scaler s(f) { state scale = 1\nstate overflow = 0\nreturn scale }\n" TWO(
         "minimize loss with sgd(lr = 1)\nscale s")},
    {"E0302", "this state would be `train/linear1.weight.average`, which training keeps itself: give it another name",
     "optimizer o(p, g) { state average = zeros_like(p)\np <- p - average }\n" MODEL("loss = mean(linear(x, 1))")
         TRAIN("minimize loss with o\naverage ema(0.9)")},
    {"E0302", "this state would be `train/own.scale`, which is there already: give it another name",
     "optimizer o(p, g) { state scale = zeros_like(p)\np <- p - scale }\n" MODEL(
         "param own: [4] ~ ones\nloss own = mean(x) * mean(own)\nloss = own")
         TRAIN("minimize own with o\nscale dynamic per loss")},
};

static void check_mistake(const struct mistake *mistake)
{
    struct net_case net = net_case_open(mistake->text, (struct elaborate_request){0}, NULL, NULL);
    char *messages = net_case_messages(&net);
    bool good = !net.module && strstr(messages, mistake->code) && strstr(messages, mistake->words);
    if (!good)
        fprintf(stderr, "wanted %s \"%s\" for\n%sgot\n%s\n", mistake->code, mistake->words, mistake->text, messages);
    CHECK(good);
    free(messages);
    net_case_close(&net);
}

/* The form that the language's contract shows, to the letter. */
static void check_matmul_message(void)
{
    struct net_case net = net_case_open("model (image: f32[batch, 28, 28]) {\n"
                                        "    x      = image |> flatten\n"
                                        "    param head: [1024, 10] ~ zeros\n"
                                        "    logits = x @ head\n"
                                        "}\n",
                                        (struct elaborate_request){.batch = 128}, NULL, NULL);
    char *messages = net_case_messages(&net);
    CHECK_TEXT(messages,
               "m.net:4:14: error[E0203]: matmul: inner dimensions differ: [128, 784] @ [1024, 10]\n"
               "    4 |     logits = x @ head\n"
               "      |              ^~~~~~~~ 784 comes from `flatten` at m.net:2:23, 1024 from `param head` at "
               "m.net:3:11\n");
    free(messages);
    net_case_close(&net);
}

/* One mistake is one diagnostic, also where its value is used on. */
static void check_no_cascade(void)
{
    struct net_case net = net_case_open(MODEL("y = linear(x, nope)\nz = y + 1\nloss = mean(z)\nmetric m = mean(nope)"),
                                        (struct elaborate_request){0}, NULL, NULL);
    CHECK(diagnostics_errors(net.diagnostics) == 1);
    net_case_close(&net);
    net = net_case_open(MODEL("repeat i in 0..2 { collect y = x @ foo }\nloss = mean(y)"),
                        (struct elaborate_request){0}, NULL, NULL);
    CHECK(diagnostics_errors(net.diagnostics) == 1);
    net_case_close(&net);
}

/* Mistakes of options and flags. */
static void check_flags(void)
{
    static const struct {
        struct name_text set, flag;
        const char *words;
    } cases[] = {{{"width", "0.5"}, {NULL, NULL}, "option `width` is a whole number, not the number 0.5"},
                 {{"width", "true"}, {NULL, NULL}, "option `width` is a whole number, not a truth value"},
                 {{"width", "max(1, true)"}, {NULL, NULL}, "`max` needs a tensor or a number, not a truth value"},
                 {{"wdith", "3"}, {NULL, NULL}, "did you mean `width`?"},
                 {{NULL, NULL}, {"batch", "0"}, "--batch:1:1: error[E0503]: `batch` must be from 1"},
                 {{NULL, NULL}, {"scale", "dynamic(backoff = 2)"}, "backoff must lie between 0 and 1"},
                 {{NULL, NULL}, {"data", "somewhere"}, "the file names no source that has a path"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct net_case net = net_case_open("option width = 3\n" MODEL("loss = mean(linear(x, width))")
                                                TRAIN("minimize loss with sgd(lr = 1)"),
                                            (struct elaborate_request){0}, cases[i].set.name ? &cases[i].set : NULL,
                                            cases[i].flag.name ? &cases[i].flag : NULL);
        char *messages = net_case_messages(&net);
        bool good = !net.module && strstr(messages, cases[i].words);
        if (!good)
            fprintf(stderr, "wanted \"%s\", got\n%s\n", cases[i].words, messages);
        CHECK(good);
        free(messages);
        net_case_close(&net);
    }
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    if (!file)
        abort();
    fputs(text, file);
    fclose(file);
}

/* A chain of functions too long to be followed is refused before the stack ends. */
static void check_nesting(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&text, &size);
    for (int i = 0; i < 150; i++)
        fprintf(stream, "function f%d(x) { return -(-(-(-(-(-(-(-(-(-f%d(x)))))))))) }\n", i, i + 1);
    fprintf(stream, "function f150(x) { return x }\n%s", MODEL("y = f0(x)"));
    fclose(stream);
    struct net_case net = net_case_open(text, (struct elaborate_request){0}, NULL, NULL);
    char *messages = net_case_messages(&net);
    CHECK(!net.module && strstr(messages, "E0407") && diagnostics_errors(net.diagnostics) == 1);
    free(messages);
    net_case_close(&net);
    free(text);
}

static void check_import_circle(void)
{
    char folder[] = "/tmp/castor-import-XXXXXX", a[64], b[64];
    if (!mkdtemp(folder))
        abort();
    snprintf(a, sizeof a, "%s/a.net", folder);
    snprintf(b, sizeof b, "%s/b.net", folder);
    write_file(a, "import \"b.net\"\n");
    write_file(b, "import \"a.net\"\n");
    char text[128];
    snprintf(text, sizeof text, "import \"%s\"\nmodel (x: [batch]) { y = x }\n", a);
    struct net_case net = net_case_open(text, (struct elaborate_request){0}, NULL, NULL);
    char *messages = net_case_messages(&net);
    CHECK(!net.module && strstr(messages, "error[E0404]: `a.net` imports itself in a circle"));
    free(messages);
    net_case_close(&net);
    remove(a);
    remove(b);
    remove(folder);
}

int main(void)
{
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++)
        check_mistake(&mistakes[i]);
    check_matmul_message();
    check_no_cascade();
    check_flags();
    check_nesting();
    check_import_circle();
    return check_result();
}
