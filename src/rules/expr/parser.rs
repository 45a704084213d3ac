//! Tokens to an expression.
//!
//! Precedence, loosest first: OR, AND, NOT, comparison. Rulekit reads OR tighter than AND; [`readings`] shows both where
//! they differ.

use super::ast::{Comparison, Expr, ExprKind, Logic, Operand, OperandKind};
use super::lexer::{Token, tokens};
use super::{Fault, Span};

/// Bytes of an expression at most.
pub const MAX_TEXT: usize = 64 * 1024;
/// Parentheses, `not`s, lists and calls inside each other at most.
pub const MAX_DEPTH: usize = 64;

/// Reads an expression.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub fn parse(text: &str) -> Result<Expr, Fault> {
    read(text, [Logic::Or, Logic::And])
}

/// Our reading and Rulekit's, where an expression mixes `and` and `or` without parentheses and they differ.
pub(super) fn readings(text: &str) -> Option<(Expr, Expr)> {
    let ours = parse(text).ok()?;
    let theirs = read(text, [Logic::And, Logic::Or]).ok()?;
    (ours != theirs).then_some((ours, theirs))
}

/// `order`: the loosest operator first.
fn read(text: &str, order: [Logic; 2]) -> Result<Expr, Fault> {
    if text.len() > MAX_TEXT {
        return Err(Fault::error(
            Span::default(),
            format!("the expression is longer than {MAX_TEXT} bytes"),
        ));
    }
    let mut parser = Parser {
        text,
        tokens: tokens(text)?,
        at: 0,
        depth: 0,
        order,
    };
    if parser.peek() == &Token::End {
        return Err(Fault::error(Span::new(0, 0), "the expression is empty")
            .hint("write `true` for what always applies"));
    }
    let expr = parser.logic(0)?;
    match parser.peek() {
        Token::End => Ok(expr),
        _ => Err(parser.unexpected_after()),
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, Span)>,
    at: usize,
    depth: usize,
    order: [Logic; 2],
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        self.tokens
            .get(self.at)
            .map_or(&Token::End, |(token, _)| token)
    }

    fn peek_second(&self) -> &Token {
        self.tokens
            .get(self.at + 1)
            .map_or(&Token::End, |(token, _)| token)
    }

    fn span(&self) -> Span {
        let end = Span::new(self.text.len(), self.text.len());
        self.tokens.get(self.at).map_or(end, |(_, span)| *span)
    }

    /// Steps over a token.
    fn take(&mut self) -> (Token, Span) {
        let taken = (self.peek().clone(), self.span());
        self.at += 1;
        taken
    }

    fn found(&self) -> String {
        self.peek().describe(self.span().of(self.text))
    }

    /// Goes one level down, if there is room.
    fn down<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth >= MAX_DEPTH {
            return Err(Fault::error(
                self.span(),
                format!("nested more than {MAX_DEPTH} deep"),
            ));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn logic(&mut self, level: usize) -> Result<Expr, Fault> {
        let Some(logic) = self.order.get(level).copied() else {
            return self.not();
        };
        let sign = match logic {
            Logic::And => Token::And,
            Logic::Or => Token::Or,
        };
        let first = self.logic(level + 1)?;
        let mut parts = vec![first];
        while *self.peek() == sign {
            self.take();
            parts.push(self.logic(level + 1)?);
        }
        let span = parts
            .first()
            .zip(parts.last())
            .map(|(a, b)| a.span.to(b.span))
            .unwrap_or_default();
        match parts.len() {
            1 => parts.pop().ok_or_else(|| self.expected("an expression")),
            _ => Ok(Expr {
                kind: ExprKind::Logic(logic, parts),
                span,
            }),
        }
    }

    fn not(&mut self) -> Result<Expr, Fault> {
        match self.peek() {
            Token::Not => {
                let (_, start) = self.take();
                let inner = self.down(Self::not)?;
                let span = start.to(inner.span);
                Ok(Expr {
                    kind: ExprKind::Not(Box::new(inner)),
                    span,
                })
            }
            Token::Open => {
                let (_, start) = self.take();
                let mut inner = self.down(|parser| parser.logic(0))?;
                let end = self.span();
                self.expect(Token::Close, "`)`", start)?;
                inner.span = start.to(end);
                Ok(inner)
            }
            _ => self.predicate(),
        }
    }

    fn predicate(&mut self) -> Result<Expr, Fault> {
        let left = self.operand()?;
        let negated = *self.peek() == Token::Not;
        let next = if negated {
            self.peek_second()
        } else {
            self.peek()
        };
        let Some(op) = comparison(next) else {
            if negated {
                self.take();
                return Err(self.expected("`in`, `contains` or `matches` after `not`"));
            }
            let span = left.span;
            return Ok(Expr {
                kind: ExprKind::Truth(left),
                span,
            });
        };
        if negated {
            self.take();
            if !matches!(
                op,
                Comparison::In | Comparison::Contains | Comparison::Matches
            ) {
                let fault = self.expected("`in`, `contains` or `matches` after `not`");
                return Err(fault
                    .hint("put `not` in front of the comparison, or use the opposite operator"));
            }
        }
        self.take();
        let right = self.operand()?;
        if comparison(self.peek()).is_some() {
            return Err(Fault::error(self.span(), "a comparison has two sides")
                .hint("join two comparisons with `and`: `a < b and b < c`"));
        }
        let span = left.span.to(right.span);
        Ok(Expr {
            kind: ExprKind::Compare {
                op,
                negated,
                left,
                right,
            },
            span,
        })
    }

    fn operand(&mut self) -> Result<Operand, Fault> {
        let kind = match self.peek().clone() {
            Token::OpenList => return self.list(),
            Token::Name(name) if *self.peek_second() == Token::Open => return self.call(name),
            Token::Name(name) => OperandKind::Field(name),
            Token::Literal(literal) => OperandKind::Literal(literal),
            _ => return Err(self.expected("a field, a value or a call")),
        };
        let (_, span) = self.take();
        Ok(Operand { kind, span })
    }

    fn list(&mut self) -> Result<Operand, Fault> {
        let (_, start) = self.take();
        if *self.peek() == Token::CloseList {
            return Err(Fault::error(self.span(), "a list needs at least one value"));
        }
        let items = self.down(|parser| parser.items(&Token::CloseList, true))?;
        let end = self.span();
        self.expect(Token::CloseList, "`,` or `]`", start)?;
        Ok(Operand {
            kind: OperandKind::List(items),
            span: start.to(end),
        })
    }

    fn call(&mut self, name: String) -> Result<Operand, Fault> {
        let (_, start) = self.take();
        let (_, open) = self.take();
        let args = match self.peek() {
            Token::Close => Vec::new(),
            _ => self.down(|parser| parser.items(&Token::Close, false))?,
        };
        let end = self.span();
        self.expect(Token::Close, "`,` or `)`", open)?;
        Ok(Operand {
            kind: OperandKind::Call { name, args },
            span: start.to(end),
        })
    }

    /// Operands between commas, up to `close`.
    fn items(&mut self, close: &Token, trailing: bool) -> Result<Vec<Operand>, Fault> {
        let mut items = vec![self.operand()?];
        while *self.peek() == Token::Comma {
            self.take();
            if trailing && self.peek() == close {
                break;
            }
            items.push(self.operand()?);
        }
        Ok(items)
    }

    /// Steps over `token`; `open`: what it closes.
    fn expect(&mut self, token: Token, what: &str, open: Span) -> Result<(), Fault> {
        if *self.peek() == token {
            self.take();
            return Ok(());
        }
        let hint = format!(
            "to close the `{}` in column {}",
            open.of(self.text),
            self.column(open)
        );
        Err(self.expected(what).hint(hint))
    }

    fn column(&self, span: Span) -> usize {
        Fault::error(span, "").column(self.text)
    }

    fn expected(&self, what: &str) -> Fault {
        Fault::error(
            self.span(),
            format!("{what} is expected, not {}", self.found()),
        )
    }

    /// What stands where the expression could have ended.
    fn unexpected_after(&self) -> Fault {
        match self.peek() {
            Token::Close | Token::CloseList => {
                Fault::error(self.span(), format!("{} closes nothing", self.found()))
            }
            token if comparison(token).is_some() => {
                let message = format!("{} cannot compare what is in parentheses", self.found());
                Fault::error(self.span(), message)
                    .hint("compare fields and values; join comparisons with `and` and `or`")
            }
            _ => self.expected("an operator, `and`, `or` or the end"),
        }
    }
}

fn comparison(token: &Token) -> Option<Comparison> {
    match token {
        Token::Compare(comparison) => Some(*comparison),
        _ => None,
    }
}
