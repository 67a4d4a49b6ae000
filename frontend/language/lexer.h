/* Between the raw lexer (net.l) and the grammar (net.y): reading of literals, and the one token of delay that decides
 * where a statement ends. */
#ifndef CASTOR_FRONTEND_LANGUAGE_LEXER_H
#define CASTOR_FRONTEND_LANGUAGE_LEXER_H

#include "frontend/language/parser.h"

#include "frontend/language/net.parser.h"

/* The raw lexer that flex makes, in our own form. */
#define YY_DECL int net_raw_lex(NET_STYPE *value, struct net_location *location, void *yyscanner)
int net_raw_lex(NET_STYPE *value, struct net_location *location, void *scanner);

/* What the raw lexer calls. The literals are read after diagnostics too, so that the parser goes on. */
void net_advance(struct net_parser *parser, struct net_location *location, int length);
void net_comment(struct net_parser *parser, struct net_location location, const char *text, int length);
struct net_number net_read_number(struct net_parser *parser, struct net_location location, const char *text,
                                  int length);
struct net_number net_bad_number(struct net_parser *parser, struct net_location location, const char *text, int length);
const char *net_read_string(struct net_parser *parser, struct net_location location, const char *text, int length);
const char *net_open_string(struct net_parser *parser, struct net_location location, const char *text, int length);
/* Reports a character that begins no token; gives the token that makes the grammar recover in silence. */
int net_bad_character(struct net_parser *parser, struct net_location location, const char *text, int length);

/* The grammar's next token. */
int net_lex(NET_STYPE *value, struct net_location *location, struct net_parser *parser);

#endif
