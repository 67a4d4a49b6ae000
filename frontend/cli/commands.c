/* The table of commands: --help, the manual pages and the completions of shells are made from it. */
#include "frontend/cli/command.h"

enum { COMPILES = GROUP_LANGUAGE | GROUP_COMPILE | GROUP_BLOCK };

static const struct command commands[] = {
    {"new", "NAME", 1, 1, 0, "A starter project: a commented model, its data, a policy.", "new spirals", command_new},
    {"check", "FILE", 1, 1, GROUP_LANGUAGE | GROUP_JSON, "Parse a .net file and check names, shapes and types.",
     "check model.net\ncheck model.net --json", command_check},
    {"fmt", "FILE", 1, 1, GROUP_FORMAT, "Print a .net file in the standard layout.",
     "fmt model.net\nfmt model.net --write", command_fmt},
    {"train", "FILE", 1, 1, COMPILES | GROUP_WEIGHTS | GROUP_TRAIN | GROUP_JSON, "Compile a .net file and train it.",
     "train models/fashion_mlp.net\ntrain model.net --policy 'autocast(bf16)' --epochs 3\n"
     "train model.net --set width=512 --lr '1e-3 * cosine(step, steps)'",
     command_train},
    {"build", "FILE", 1, 1, COMPILES | GROUP_BUILD,
     "Make a trainer: an executable that needs neither castor nor a compiler.",
     "build models/fashion_mlp.net -o trainer\nbuild model.net --policy 'autocast(bf16)' --set width=512 -o trainer\n"
     "build model.net --device host,cuda --arch sm_80,sm_90 -o trainer",
     command_build},
    {"eval", "FILE", 1, 1, COMPILES | GROUP_WEIGHTS | GROUP_JSON, "Losses and metrics on the test data.",
     "eval model.net --weights runs/model.1/best.safetensors", command_eval},
    {"run", "FILE", 1, 1, COMPILES | GROUP_WEIGHTS | GROUP_RUN, "One execution of a graph on tensors from a file.",
     "run model.net --graph eval --feed in.safetensors --fetch out.safetensors\n"
     "run model.net --graph train --feed in.safetensors --fetch out.safetensors --steps 10",
     command_run},
    {"dump", "FILE", 1, 1, COMPILES | GROUP_DUMP | GROUP_AFTER, "Print what a .net file compiles to.",
     "dump model.net --emit ir --after precision\ndump model.net --emit svg --after casts --only train >model.svg\n"
     "dump model.net --emit c",
     command_dump},
    {"opt", "FILE", 1, 1, GROUP_PASSES | GROUP_DUMP | GROUP_COMPILE, "Read IR text, run passes on it, print it again.",
     "opt graph.ir --passes simplify,cse,dce\ndump model.net --emit ir --after casts | castor opt - --passes fuse",
     command_opt},
    {"explain", "FILE [NODE]", 1, 2, COMPILES, "Why a node has its precision; or what an error code means.",
     "explain model.net fc1.y\nexplain E0203", command_explain},
    {"compare", "FILE", 1, 1, COMPILES | GROUP_JSON, "Policies side by side: casts, launches, bytes, time, error.",
     "compare model.net --policy f32 --policy 'autocast(f16)' --policy mine.policy\n"
     "compare model.net --policy autocast --policy almost --epochs 2",
     command_compare},
    {"ledger", "FILE", 1, 1, COMPILES | GROUP_LEDGER | GROUP_JSON,
     "What one training step costs: launches, bytes, memory, casts.",
     "ledger model.net\nledger model.net --policy 'autocast(bf16)' --json\n"
     "ledger model.net --device sim --arch sm_90 --registers",
     command_ledger},
    {"profile", "FILE", 1, 1, COMPILES | GROUP_JSON, "Time of each kernel and library call of a training step.",
     "profile model.net --steps 100", command_profile},
    {"export", "FILE", 1, 1, COMPILES | GROUP_EXPORT, "The evaluation graph, with its casts, as an ONNX model.",
     "export model.net --weights runs/model.1/best.safetensors --onnx model.onnx\n"
     "export model.net --policy 'autocast(f16)' --batch 1 --onnx model.onnx",
     command_export},
    {"ops", "", 0, 0, GROUP_JSON, "The operations of the graph.", "ops", command_ops},
    {"passes", "", 0, 0, GROUP_JSON, "The passes, in the order in which they run.", "passes", command_passes},
    {"policies", "", 0, 0, GROUP_POLICIES | GROUP_JSON, "The built-in casting policies.",
     "policies\npolicies --explain autocast", command_policies},
    {"report", "RUN...", 1, 8, GROUP_REPORT,
     "A page on one run or several: curves, scale, overflows, ranges, graph, ledger.",
     "report runs/model.1\nreport runs/model.1 runs/model.2 -o both.html", command_report},
    {"reduce", "FILE", 1, 1, GROUP_REDUCE,
     "The smallest .net or .ir file on which a command still fails as it does now.",
     "reduce model.net --keep 'castor ledger' >small.net\n"
     "reduce graph.ir --keep 'castor opt {} --passes fuse --verify-each' >small.ir",
     command_reduce},
    {"calibrate", "", 0, 0, GROUP_DEVICE | GROUP_JSON, "Measure this device for the cost model.",
     "calibrate\ncalibrate --threads 4", command_calibrate},
    {"devices", "", 0, 0, GROUP_JSON, "The devices that programs can run on here.", "devices", command_devices},
};

const struct command *command_table(size_t *count)
{
    *count = sizeof commands / sizeof *commands;
    return commands;
}
