/* The grammar of the .net language: every construct against the tree that the language's text calls for. */
#include "tests/unit/ast_text.h"
#include "tests/unit/check.h"

#include <stdlib.h>

/* The trees of the statements in a block that begins with `head`, or "error". */
static char *statement_text(const char *head, const char *source)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    char *wrapped = arena_printf(arena, "%s {\n%s\n}\n", head, source);
    struct ast_file *file = parse_net(arena, diagnostics, "t.net", wrapped);
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (file)
        for (int i = 0; i < file->items[0]->body->count; i++)
            text_statement(out, file->items[0]->body->items[i]);
    else
        fputs("error", out);
    fclose(out);
    arena_free(arena);
    return text;
}

static char *file_text(const char *source)
{
    struct arena *arena = arena_new();
    struct ast_file *file = parse_net(arena, diagnostics_new(arena), "t.net", source);
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (file)
        text_file(out, file);
    else
        fputs("error", out);
    fclose(out);
    arena_free(arena);
    return text;
}

static const struct {
    const char *source, *tree;
} statements[] = {
    /* precedence */
    {"x = a + b * c - d / e @ f", "(bind x = (- (+ a (* b c)) (@ (/ d e) f)))"},
    {"x = -a ^ b ^ -c'", "(bind x = (- (^ a (^ b (- (' c))))))"},
    {"x = a * -b - -1", "(bind x = (- (* a (- b)) (- 1)))"},
    {"x = not a == b and c or d < 1 + 2", "(bind x = (or (and (not (== a b)) c) (< d (+ 1 2))))"},
    {"x = a or b |> f |> g(1) as h.0", "(bind x = (call g (call f (or a b)) 1 as h.0))"},
    {"x = if a |> f then b else if c then d else e", "(bind x = (if (call f a) b (if c d e)))"},
    {"x = (a + b) * (if c then 1 else 2)", "(bind x = (* (+ a b) (if c 1 2)))"},
    {"x = f(a) as g + 1", "(bind x = (+ (call f a as g) 1))"},
    {"x = f(a)[0]'[b:, ..]", "(bind x = (index (' (index (call f a) 0)) (slice b _ _) ..))"},
    {"x = true != false", "(bind x = (!= #true #false))"},
    /* indexing, lists, arguments */
    {"x = y[:, t, 1:, :2, 3:4, ::5, .., -1,]",
     "(bind x = (index y (slice _ _ _) t (slice 1 _ _) (slice _ 2 _) (slice 3 4 _) (slice _ _ 5) .. (- 1)))"},
    {"x = f(a, b = [1, 2.5, 1e-3,], c = if d then 1 else 2,)",
     "(bind x = (call f a b=(list 1 2.5 0.001) c=(if d 1 2)))"},
    {"x = layer1.0.bn(\"a\\\"b\\\\\\t\")", "(bind x = (call layer1.0.bn \"a\"b\\\t\"))"},
    /* where a statement ends */
    {"a = 1; b = 2;; c = 3", "(bind a = 1)(bind b = 2)(bind c = 3)"},
    {"x = a\n  # between\n\n  |> f\n  + 1", "error"},
    {"x = a\n\n  # between\n  + b\n  |> f\n  |> g\ny = 1", "(bind x = (call g (call f (+ a b))))(bind y = 1)"},
    {"x = a\n- b", "(bind x = (- a b))"},
    {"x = f(a,\n  b\n  , [c\n])\ny = 1", "(bind x = (call f a b (list c)))(bind y = 1)"},
    {"return a,\n  b", "(return a b)"},
    {"x = if a\n then b\n else c", "(bind x = (if a b c))"},
    {"x = f(a)\n as g", "(bind x = (call f a as g))"},
    {"if a\n{\n b = 1\n}\nelse\n{ b = 2 }\nc = 3", "(if a {(bind b = 1)} {(bind b = 2)})(bind c = 3)"},
    /* statements */
    {"h, c = cell(x, h, c) as cell", "(bind h c = (call cell x h c as cell))"},
    {"m <- momentum * m + g", "(update m (+ (* momentum m) g))"},
    {"a <-b", "(update a b)"},
    {"param w: [n, k / 2] ~ uniform(-1, 1)\n", "(param w (type _ n (/ k 2)) (call uniform (- 1) 1))"},
    {"param t: []\n ~ ones", "(param t (type _) ones)"},
    {"state m = 0; metric a = b; watch c = d; output e = f; loss g = h; collect i = j",
     "(state m 0)(metric a b)(watch c d)(output e f)(loss g h)(collect i j)"},
    {"output x; metric y; watch z", "(output x x)(metric y y)(watch z z)"},
    {"precision f32 { y = x }", "(precision f32 {(bind y = x)})"},
    {"if a { } else if b { c = 1 } else { d = 1 }", "(if a {} {(if b {(bind c = 1)} {(bind d = 1)})})"},
    {"repeat i in 0..n - 1 as block.x { x = x |> f(i) }", "(repeat i 0 (- n 1) as block.x {(bind x = (call f x i))})"},
    {"repeat in in a.b..f(2) { }", "(repeat in a.b (call f 2) as _ {})"},
    /* words of a context are names elsewhere */
    {"model = train + module(in = for, over = with)", "(bind model = (+ train (call module in=for over=with)))"},
    {"minimize = keep; evaluate = every; option, checkpoint = import(function)",
     "(bind minimize = keep)(bind evaluate = every)(bind option checkpoint = (call import function))"},
    {"state scaler = optimizer", "(state scaler optimizer)"},
    {"data = step; half <- metric", "(bind data = step)(update half metric)"},
    /* what is no text of the language */
    {"x = a < b < c", "error"},
    {"x = a <-b", "error"},
    {"x = a |> f + 1", "error"},
    {"x = 1 + if a then b else c", "error"},
    {"x = y as z", "error"},
    {"f(x)", "error"},
    {"if a { batch 128 }", "error"},
    {"minimize x with f", "error"},
    {"x = 1.", "error"},
    {"x = .5", "error"},
    {"x = 1e999", "error"},
    {"x = 9007199254740993", "error"},
    {"x = 12ab", "error"},
    {"x = \"abc", "error"},
    {"x = \"a\\q\"", "error"},
    {"x = a &", "error"},
    {"if = 1", "error"},
    {"repeat i in 3 { }", "error"},
    {"param w = 3", "error"},
    {"output a + b", "error"},
    {"foo x = 3", "error"},
    {"state x", "error"},
    {"batch 128", "error"},
    {"x = f(a", "error"},
};

static const char *const entries[][2] = {
    {"batch 128; seed 1\nfreeze \"a.*\", \"b\"", "(set batch 128)(set seed 1)(set freeze \"a.*\" \"b\")"},
    {"data idx(\"d\") |> random_crop(2) |> random_flip",
     "(set data (call random_flip (call random_crop (call idx \"d\") 2)))"},
    {"scale dynamic(init = 2 ^ 16) per loss", "(set scale (call dynamic init=(^ 2 16)) per loss)"},
    {"precision autocast(f16)", "(set precision (call autocast f16))"},
    {"evaluate every 1 epoch", "(evaluate 1 epoch)"},
    {"checkpoint every 500 steps keep best accuracy", "(checkpoint 500 steps keep best accuracy)"},
    {"checkpoint every 1 epoch keep best accuracy keep 3", "(checkpoint 1 epoch keep 3 keep best accuracy)"},
    {"checkpoint every 2 * n steps", "(checkpoint (* 2 n) steps)"},
    {"minimize loss with adam", "(minimize loss (over) adam)"},
    {"minimize a + b over \"d.*\", not \"e\" with adam(lr = 1) {\n lr = 2 for rank < 2, \"x\"\n\n b = 3 for \"y\"; }",
     "(minimize (+ a b) (over \"d.*\" (not \"e\")) (call adam lr=1) (override lr 2 (< rank 2) \"x\") "
     "(override b 3 \"y\"))"},
    {"minimize a with f(1)\n# why\nthen minimize b with g every 5\nminimize c with h",
     "(minimize a (over) (call f 1))(then-minimize b (over) g every 5)(minimize c (over) h)"},
    {"rate = 1", "(bind rate = 1)"},
    {"return 1", "error"},
    {"output x", "error"},
    {"param w: [n] ~ ones", "error"},
    {"repeat i in 0..3 { }", "error"},
};

static void check_statements(void)
{
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        char *text = statement_text("model ()", statements[i].source);
        CHECK_TEXT(text, statements[i].tree);
        free(text);
    }
}

static void check_entries(void)
{
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        char *text = statement_text("train", entries[i][0]);
        CHECK_TEXT(text, entries[i][1]);
        free(text);
    }
}

static void check_definitions(void)
{
    char *text = file_text("\xef\xbb\xbfimport \"other.net\"\r\n"
                           "option width = 1024 # units\r\n"
                           "model (image: u8[batch, 28, 28], label: class(2 * n)[batch]) { }\n"
                           "module f(x: [.., k], n, bias = true, s: [] = 1,) { return x }\n"
                           "function g() { return 1 }; optimizer sgd(p, g, lr) { p <- p - lr * g }\n"
                           "scaler none(found_inf) { return 1 }\n"
                           "train { }");
    CHECK_TEXT(text, "(define 0 other.net)\n"
                     "(define 1 width = 1024)\n"
                     "(define 2 _ image:(type u8 batch 28 28) label:(type class/(* 2 n) batch) {})\n"
                     "(define 3 f x:(type _ .. k) n bias=#true s:(type _)=1 {(return x)})\n"
                     "(define 4 g {(return 1)})\n"
                     "(define 5 sgd p g lr {(update p (- p (* lr g)))})\n"
                     "(define 6 none found_inf {(return 1)})\n"
                     "(define 7 _ {})\n");
    free(text);
    text = file_text("");
    CHECK_TEXT(text, "");
    free(text);
    text = file_text("# only a comment");
    CHECK_TEXT(text, "");
    free(text);
}

static void check_flags(void)
{
    struct arena *arena = arena_new();
    struct diagnostics *diagnostics = diagnostics_new(arena);
    struct ast_expression *expression = parse_net_expression(arena, diagnostics, "--scale", "dynamic(init = 1024)");
    CHECK(expression && expression->kind == AST_CALL && strcmp(expression->call.callee, "dynamic") == 0);
    CHECK(!parse_net_expression(arena, diagnostics, "--lr", "1 +"));
    CHECK(!parse_net_expression(arena, diagnostics, "--lr", "1\n2"));
    CHECK(!parse_net_expression(arena, diagnostics, "--lr", ""));
    struct ast_block *entry = parse_net_entry(arena, diagnostics, "--evaluate", "evaluate", "every 1 epoch");
    CHECK(entry && entry->count == 1 && entry->items[0]->kind == AST_EVERY &&
          entry->items[0]->every.count->number.value == 1);
    entry = parse_net_entry(arena, diagnostics, "--batch", "batch", "64");
    CHECK(entry && entry->items[0]->kind == AST_SETTING && entry->items[0]->setting.values.items[0]->number.integer);
    entry = parse_net_entry(arena, diagnostics, "--minimize", "minimize",
                            "a with sgd(lr = 1); minimize b with sgd(lr = 1) then minimize c with sgd(lr = 1)");
    CHECK(entry && entry->count == 3 && !entry->items[1]->minimize.then && entry->items[2]->minimize.then);
    CHECK(!parse_net_entry(arena, diagnostics, "--batch", "batch", "64; seed 1"));
    arena_free(arena);
}

static void check_spans(void)
{
    struct arena *arena = arena_new();
    struct ast_file *file = parse_net(arena, diagnostics_new(arena), "t.net",
                                      "model () {\n    y = hidden @ head\n    z = f(a,   \n          b)\n}\n");
    CHECK(file);
    if (!file)
        return;
    struct ast_expression *product = file->items[0]->body->items[0]->bind.value;
    CHECK(product->span.line == 2 && product->span.column == 9 && product->span.end_column == 22);
    CHECK(product->binary.operator_span.column == 16 && product->binary.operator_span.end_column == 17);
    struct ast_expression *call = file->items[0]->body->items[1]->bind.value;
    CHECK(call->span.line == 3 && call->span.column == 9 && call->span.end_column == 13 && call->end_line == 4);
    CHECK_TEXT(call->span.file, "t.net");
    arena_free(arena);
}

int main(void)
{
    check_statements();
    check_entries();
    check_definitions();
    check_flags();
    check_spans();
    return check_result();
}
