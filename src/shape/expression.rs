//! Expressions over the columns of a row, as a config writes them: a small part of SQL, which is
//! refused where it asks for more.

use serde::{Deserialize, Serialize};
use sqlparser::ast::{
    BinaryOperator, CastKind, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, InTarget,
    Spanned, UnaryOperator, Value,
};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Location, Span, Token, Tokenizer};

use crate::connection::types::ColumnType;
use crate::home::Comparison;

/// Levels of an expression: it is walked down.
const MAX_DEPTH: usize = 100;
const TOO_DEEP: &str = "it has too many levels, one inside the other";

/// Operators of an expression: a chain of them has as many levels.
const MAX_OPERATORS: usize = 2000;

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expression {
    /// As it is written.
    pub text: String,
    pub(super) root: Node,
}

/// A part of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) kind: NodeKind,
    /// As it is written, but for blanks.
    pub(super) text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NodeKind {
    Column(String),
    Null,
    Boolean(bool),
    /// Digits, with a point or an exponent where it has one.
    Number(String),
    Text(String),
    /// A text that is a value of a type: `date '2026-01-31'`.
    Typed(ColumnType, String),
    Not(Box<Node>),
    Negate(Box<Node>),
    All(Vec<Node>),
    Any(Vec<Node>),
    Compare(Comparison, Box<Node>, Box<Node>),
    Arithmetic(Operator, Box<Node>, Box<Node>),
    Concat(Box<Node>, Box<Node>),
    IsNull(Box<Node>),
    /// `is true`, `is false`: never null.
    IsTruth(Box<Node>, bool),
    Like {
        value: Box<Node>,
        pattern: Box<Node>,
        escape: Option<char>,
    },
    Coalesce(Vec<Node>),
    Text1(TextFunction, Box<Node>),
    Cast(Box<Node>, ColumnType),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
}

impl Operator {
    pub(super) fn sign(self) -> char {
        match self {
            Self::Add => '+',
            Self::Subtract => '-',
            Self::Multiply => '*',
        }
    }
}

/// A function of one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TextFunction {
    Lower,
    Upper,
    Trim,
}

/// What is wrong with a text that is to be an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    pub(super) message: String,
    /// What to write instead, where that is known.
    pub(super) hint: Option<String>,
    /// Where it is: the line and the character in it, both from 1, and how many characters.
    pub(super) place: Option<Place>,
}

/// A place in the text of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) length: usize,
}

impl SyntaxError {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
            place: None,
        }
    }

    fn with_hint(self, hint: impl Into<String>) -> Self {
        Self {
            hint: Some(hint.into()),
            ..self
        }
    }

    fn at(self, span: Span) -> Self {
        let number = |number: u64| usize::try_from(number).unwrap_or_default();
        let (start, end) = (span.start, span.end);
        let one_line = start.line == end.line && end.column > start.column;
        let length = if one_line {
            number(end.column - start.column)
        } else {
            1
        };
        let place = (start.line > 0).then(|| Place {
            line: number(start.line),
            column: number(start.column),
            length,
        });
        Self {
            place: self.place.or(place),
            ..self
        }
    }
}

/// What expressions have, for hints.
const LANGUAGE: &str = "expressions have = <> < <= > >=, and, or, not, in (..), between, is null, like, + - *, ||, coalesce, lower, upper, trim, cast(.. as TYPE), date '..', timestamp '..', time '..'";

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// What is no expression, and what expressions do not have.
    pub fn parse(text: &str) -> Result<Self, SyntaxError> {
        let dialect = PostgreSqlDialect {};
        let tokens = Tokenizer::new(&dialect, text).tokenize_with_location();
        let tokens = tokens.map_err(|error| {
            let at = Span::new(error.location, error.location);
            SyntaxError::new(error.message.clone()).at(at)
        })?;
        let has_words = tokens
            .iter()
            .any(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF));
        if !has_words {
            return Err(SyntaxError::new("it is empty").with_hint("amount > 0 and state = 'paid'"));
        }
        let is_operator = |token: &Token| match token {
            Token::Word(word) => matches!(
                word.keyword,
                Keyword::AND
                    | Keyword::OR
                    | Keyword::NOT
                    | Keyword::IS
                    | Keyword::IN
                    | Keyword::BETWEEN
                    | Keyword::LIKE
                    | Keyword::COLLATE
                    | Keyword::AT
            ),
            Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::StringConcat => true,
            Token::Eq | Token::Neq | Token::Lt | Token::Gt | Token::LtEq | Token::GtEq => true,
            Token::DoubleColon | Token::LBracket | Token::Period => true,
            _ => false,
        };
        let operators = tokens.iter().filter(|token| is_operator(&token.token));
        if operators.count() > MAX_OPERATORS {
            let message = format!("it has more than {MAX_OPERATORS} operators");
            return Err(SyntaxError::new(message).with_hint("in (..) has a list of any length"));
        }
        let parser = Parser::new(&dialect).with_recursion_limit(MAX_DEPTH);
        let mut parser = parser.with_tokens_with_locations(tokens);
        let parsed = parser.parse_expr().map_err(|error| {
            let message = parser_message(&error.to_string());
            let at = parser.peek_token().span;
            SyntaxError::new(message).at(at_or_end(at, text))
        })?;
        let next = parser.peek_token();
        if next.token != Token::EOF {
            let message = format!("nothing can follow here, and {} does", next.token);
            return Err(SyntaxError::new(message).with_hint(LANGUAGE).at(next.span));
        }
        Ok(Self {
            text: text.to_string(),
            root: node(&parsed, 0)?,
        })
    }

    /// The columns that it reads.
    pub fn columns(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.root.collect_columns(&mut names);
        names
    }
}

impl TryFrom<String> for Expression {
    type Error = SyntaxError;

    fn try_from(text: String) -> Result<Self, SyntaxError> {
        Self::parse(&text)
    }
}

impl From<Expression> for String {
    fn from(expression: Expression) -> Self {
        expression.text
    }
}

impl Node {
    /// The conditions that must all be true.
    pub(super) fn conjuncts(&self) -> Vec<&Self> {
        match &self.kind {
            NodeKind::All(all) => all.iter().flat_map(Self::conjuncts).collect(),
            _ => vec![self],
        }
    }

    pub(super) fn collect_columns<'a>(&'a self, names: &mut Vec<&'a str>) {
        use NodeKind as K;
        match &self.kind {
            K::Column(name) => names.push(name),
            K::Null | K::Boolean(_) | K::Number(_) | K::Text(_) | K::Typed(..) => {}
            K::Not(one)
            | K::Negate(one)
            | K::IsNull(one)
            | K::IsTruth(one, _)
            | K::Text1(_, one)
            | K::Cast(one, _) => one.collect_columns(names),
            K::All(all) | K::Any(all) | K::Coalesce(all) => {
                all.iter().for_each(|one| one.collect_columns(names));
            }
            K::Compare(_, one, other)
            | K::Arithmetic(_, one, other)
            | K::Concat(one, other)
            | K::Like {
                value: one,
                pattern: other,
                ..
            } => {
                one.collect_columns(names);
                other.collect_columns(names);
            }
        }
    }
}

/// The place of a token, or that behind the last character.
fn at_or_end(span: Span, text: &str) -> Span {
    if span.start.line > 0 {
        return span;
    }
    let last = text.lines().last().unwrap_or_default();
    let end = Location {
        line: text.lines().count() as u64,
        column: last.trim_end().chars().count() as u64,
    };
    Span::new(end, end)
}

/// What the parser says, without its own words for where.
fn parser_message(message: &str) -> String {
    let message = message
        .strip_prefix("sql parser error: ")
        .unwrap_or(message);
    if message.starts_with("recursion limit exceeded") {
        return TOO_DEEP.to_string();
    }
    let end = message.find(" at Line: ").unwrap_or(message.len());
    let mut message = message[..end].replace("EOF", "the end");
    if let Some(first) = message.get(..1) {
        let lower = first.to_lowercase();
        message.replace_range(..1, &lower);
    }
    message
}

fn node(parsed: &Expr, depth: usize) -> Result<Node, SyntaxError> {
    let kind = node_kind(parsed, depth).map_err(|error| error.at(parsed.span()))?;
    Ok(Node {
        kind,
        text: parsed.to_string(),
    })
}

fn node_kind(parsed: &Expr, depth: usize) -> Result<NodeKind, SyntaxError> {
    use NodeKind as K;
    if depth > MAX_DEPTH {
        return Err(SyntaxError::new(TOO_DEEP));
    }
    let inner = |parsed: &Expr| node(parsed, depth + 1);
    let boxed = |parsed: &Expr| inner(parsed).map(Box::new);
    let negated = |is_negated: bool, kind: K| {
        let positive = || Node {
            kind: kind.clone(),
            text: parsed.to_string(),
        };
        if is_negated {
            K::Not(Box::new(positive()))
        } else {
            kind
        }
    };
    Ok(match parsed {
        Expr::Identifier(name) => K::Column(name.value.clone()),
        Expr::CompoundIdentifier(names) => {
            let names: Vec<&str> = names.iter().map(|name| name.value.as_str()).collect();
            let message = format!("{} is a field of a column", names.join("."));
            let hint = format!(
                "a column with dots in its name stands in double quotes: \"{}\"",
                names.join(".")
            );
            return Err(SyntaxError::new(message).with_hint(hint));
        }
        Expr::Nested(one) => node(one, depth + 1)?.kind,
        Expr::Value(value) => match &value.value {
            Value::Null => K::Null,
            Value::Boolean(value) => K::Boolean(*value),
            Value::Number(digits, false) => K::Number(digits.clone()),
            Value::SingleQuotedString(text) => K::Text(text.clone()),
            other => return Err(unknown(&other.to_string())),
        },
        Expr::TypedString(typed) if !typed.uses_odbc_syntax => {
            let Value::SingleQuotedString(text) = &typed.value.value else {
                return Err(unknown(&parsed.to_string()));
            };
            K::Typed(type_named(&typed.data_type.to_string())?, text.clone())
        }
        Expr::UnaryOp { op, expr } => match (op, expr.as_ref()) {
            (UnaryOperator::Not, one) => K::Not(boxed(one)?),
            // So that the least of all numbers can be written.
            (UnaryOperator::Minus, Expr::Value(value))
                if let Value::Number(digits, false) = &value.value =>
            {
                K::Number(format!("-{digits}"))
            }
            (UnaryOperator::Minus, one) => K::Negate(boxed(one)?),
            (UnaryOperator::Plus, one) => inner(one)?.kind,
            (op, _) => return Err(unknown(&op.to_string())),
        },
        Expr::BinaryOp { left, op, right } => {
            let compare = |how: Comparison| {
                Ok::<_, SyntaxError>(K::Compare(how, boxed(left)?, boxed(right)?))
            };
            let arithmetic = |how: Operator| {
                Ok::<_, SyntaxError>(K::Arithmetic(how, boxed(left)?, boxed(right)?))
            };
            match op {
                BinaryOperator::Eq => compare(Comparison::Equal)?,
                BinaryOperator::NotEq => compare(Comparison::NotEqual)?,
                BinaryOperator::Lt => compare(Comparison::Less)?,
                BinaryOperator::LtEq => compare(Comparison::LessOrEqual)?,
                BinaryOperator::Gt => compare(Comparison::Greater)?,
                BinaryOperator::GtEq => compare(Comparison::GreaterOrEqual)?,
                BinaryOperator::Plus => arithmetic(Operator::Add)?,
                BinaryOperator::Minus => arithmetic(Operator::Subtract)?,
                BinaryOperator::Multiply => arithmetic(Operator::Multiply)?,
                BinaryOperator::StringConcat => K::Concat(boxed(left)?, boxed(right)?),
                BinaryOperator::And | BinaryOperator::Or => {
                    let mut operands = Vec::new();
                    operands_of(parsed, op, depth, &mut operands)?;
                    if *op == BinaryOperator::And {
                        K::All(operands)
                    } else {
                        K::Any(operands)
                    }
                }
                BinaryOperator::Divide => {
                    let error = SyntaxError::new("there is no division");
                    return Err(error.with_hint(
                        "whole numbers would be cut, and others rounded: compare with a product, a > b * 2",
                    ));
                }
                other => return Err(unknown(&other.to_string())),
            }
        }
        Expr::IsNull(one) => K::IsNull(boxed(one)?),
        Expr::IsNotNull(one) => negated(true, K::IsNull(boxed(one)?)),
        Expr::IsTrue(one) => K::IsTruth(boxed(one)?, true),
        Expr::IsNotTrue(one) => negated(true, K::IsTruth(boxed(one)?, true)),
        Expr::IsFalse(one) => K::IsTruth(boxed(one)?, false),
        Expr::IsNotFalse(one) => negated(true, K::IsTruth(boxed(one)?, false)),
        Expr::In {
            expr,
            target: InTarget::List(list),
            negated: is_negated,
            global: false,
        } => {
            let equal = |other: &Expr| {
                Ok(Node {
                    kind: K::Compare(Comparison::Equal, boxed(expr)?, boxed(other)?),
                    text: format!("{expr} = {other}"),
                })
            };
            let any = list.iter().map(equal).collect::<Result<Vec<_>, _>>()?;
            negated(*is_negated, K::Any(any))
        }
        Expr::Between {
            expr,
            negated: is_negated,
            low,
            high,
        } => {
            let bound = |how, bound: &Expr| {
                Ok::<_, SyntaxError>(Node {
                    kind: K::Compare(how, boxed(expr)?, boxed(bound)?),
                    text: parsed.to_string(),
                })
            };
            let bounds = vec![
                bound(Comparison::GreaterOrEqual, low)?,
                bound(Comparison::LessOrEqual, high)?,
            ];
            negated(*is_negated, K::All(bounds))
        }
        Expr::Like {
            negated: is_negated,
            any: false,
            expr,
            pattern,
            escape_char,
        } => {
            let escape = match escape_char.as_deref() {
                None => None,
                Some(Expr::Value(value)) => single_character(&value.value)?,
                Some(other) => return Err(unknown(&other.to_string())),
            };
            let like = K::Like {
                value: boxed(expr)?,
                pattern: boxed(pattern)?,
                escape,
            };
            negated(*is_negated, like)
        }
        Expr::ILike { .. } => {
            return Err(SyntaxError::new("there is no ilike")
                .with_hint("lower(name) like 'a%' finds small and capital letters"));
        }
        Expr::Cast {
            kind: CastKind::Cast | CastKind::DoubleColon,
            expr,
            data_type,
            format: None,
        } => K::Cast(boxed(expr)?, type_named(&data_type.to_string())?),
        Expr::Trim {
            trim_where: None,
            trim_what: None,
            expr,
            trim_characters: None,
        } => K::Text1(TextFunction::Trim, boxed(expr)?),
        Expr::Function(function) => {
            let name = function.name.to_string().to_lowercase();
            let arguments = match &function.args {
                FunctionArguments::List(list)
                    if list.clauses.is_empty() && list.duplicate_treatment.is_none() =>
                {
                    list.args.as_slice()
                }
                _ => return Err(unknown(&name)),
            };
            let argument = |argument: &FunctionArg| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(one)) => inner(one),
                other => Err(unknown(&other.to_string())),
            };
            let mut arguments: Vec<Node> =
                arguments.iter().map(argument).collect::<Result<_, _>>()?;
            let is_plain = function.over.is_none()
                && function.filter.is_none()
                && function.within_group.is_empty()
                && function.null_treatment.is_none();
            let function = match name.as_str() {
                _ if !is_plain => return Err(unknown(&parsed.to_string())),
                "coalesce" if !arguments.is_empty() => return Ok(K::Coalesce(arguments)),
                "lower" => TextFunction::Lower,
                "upper" => TextFunction::Upper,
                "trim" => TextFunction::Trim,
                _ => return Err(unknown(&format!("{name}()"))),
            };
            match (arguments.pop(), arguments.is_empty()) {
                (Some(one), true) => K::Text1(function, Box::new(one)),
                _ => return Err(SyntaxError::new(format!("{name} has one argument"))),
            }
        }
        other => return Err(unknown(&other.to_string())),
    })
}

/// The operands of a chain of one operator, however it is nested.
fn operands_of(
    parsed: &Expr,
    chain: &BinaryOperator,
    depth: usize,
    operands: &mut Vec<Node>,
) -> Result<(), SyntaxError> {
    // A chain has as many levels as operands: it is walked down on the left by a loop.
    let mut rights = Vec::new();
    let mut next = parsed;
    while let Expr::BinaryOp { left, op, right } = next
        && op == chain
    {
        rights.push(right.as_ref());
        next = left.as_ref();
    }
    operands.push(node(next, depth + 1)?);
    for right in rights.into_iter().rev() {
        operands.push(node(right, depth + 1)?);
    }
    Ok(())
}

fn unknown(what: &str) -> SyntaxError {
    SyntaxError::new(format!("expressions do not have {what}")).with_hint(LANGUAGE)
}

fn single_character(value: &Value) -> Result<Option<char>, SyntaxError> {
    if let Value::SingleQuotedString(text) = value {
        let mut letters = text.chars();
        if let (Some(letter), None) = (letters.next(), letters.next()) {
            return Ok(Some(letter));
        }
    }
    Err(SyntaxError::new(format!(
        "escape is one character, and not {value}"
    )))
}

/// The type that a word means, ours or one of SQL's.
pub(super) fn type_named(word: &str) -> Result<ColumnType, SyntaxError> {
    let lower = word.to_lowercase();
    let ours = match lower.as_str() {
        "bool" => "boolean",
        "tinyint" => "int8",
        "smallint" => "int16",
        "int" | "integer" => "int32",
        "bigint" => "int64",
        "real" => "float32",
        "double" | "double precision" => "float64",
        "varchar" | "string" => "text",
        "blob" | "bytes" => "binary",
        other => other,
    };
    let ours = ours.replacen("numeric(", "decimal(", 1);
    match ColumnType::from_name(&ours) {
        Some(ColumnType::List(_)) | None => {
            let words = "types are boolean, int8 to int64, uint8 to uint64, float32, float64, decimal(12,2), text, binary, date, time, timestamp, timestamp_utc";
            Err(SyntaxError::new(format!("{word} is no type")).with_hint(words))
        }
        Some(found) => Ok(found),
    }
}
