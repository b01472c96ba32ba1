//! From tokens to a tree of commands (RFC 5228 §8.2). The tree knows no command and no extension; `compile` does.

use crate::lex::{Lexer, Token};
use crate::limits::{ARGUMENTS_COUNT_MAX, LIST_COUNT_MAX, NESTING_COUNT_MAX, NODES_COUNT_MAX};
use crate::position::{CompileError, Position};

/// A command or a test.
#[derive(Debug)]
pub(crate) struct Node {
    /// In lower case.
    pub name: String,
    pub at: Position,
    pub arguments: Vec<Argument>,
    /// RFC 5228 §2.5 and §2.5.1: one test, or a list of them.
    pub tests: Vec<Node>,
    /// The tests stood in parentheses.
    pub in_list: bool,
    /// `None`: it ends with a semicolon. A test has none either.
    pub block: Option<Vec<Node>>,
}

#[derive(Debug)]
pub(crate) struct Argument {
    pub at: Position,
    pub value: Value,
}

#[derive(Debug)]
pub(crate) enum Value {
    /// In lower case, without its colon.
    Tag(String),
    Number(u64),
    /// One string, or a list of them.
    Strings(Vec<(Position, String)>),
}

/// The commands of a script.
pub(crate) fn parse(source: &str) -> Result<Vec<Node>, CompileError> {
    let mut parser = Parser::new(source)?;
    let commands = parser.commands(0)?;
    match parser.token {
        Token::End => Ok(commands),
        _ => Err(parser.unexpected("a command")),
    }
}

struct Parser<'s> {
    lexer: Lexer<'s>,
    /// Read, and not used yet.
    token: Token<'s>,
    at: Position,
    /// Commands and tests so far.
    nodes_count: usize,
}

impl<'s> Parser<'s> {
    fn new(source: &'s str) -> Result<Parser<'s>, CompileError> {
        let mut lexer = Lexer::new(source);
        let (at, token) = lexer.token()?;
        Ok(Parser {
            lexer,
            token,
            at,
            nodes_count: 0,
        })
    }

    /// Hands out the token, and reads the next one.
    fn advance(&mut self) -> Result<Token<'s>, CompileError> {
        let (at, token) = self.lexer.token()?;
        self.at = at;
        Ok(std::mem::replace(&mut self.token, token))
    }

    /// What should stand in place of the token.
    fn unexpected(&self, wanted: &str) -> CompileError {
        let text = format!("Expected {wanted}, found {}", self.token.shown());
        CompileError::new(self.at, text)
    }

    fn is_mark(&self, mark: char) -> bool {
        self.token == Token::Mark(mark)
    }

    /// Up to a token that begins no command.
    fn commands(&mut self, depth: usize) -> Result<Vec<Node>, CompileError> {
        let mut commands = Vec::new();
        while let Token::Identifier(_) = self.token {
            let mut command = self.node(depth)?;
            if self.is_mark(';') {
                self.advance()?;
            } else if self.is_mark('{') {
                self.advance()?;
                command.block = Some(self.commands(self.deeper(depth)?)?);
                if !self.is_mark('}') {
                    return Err(self.unexpected("a command or \"}\""));
                }
                self.advance()?;
            } else {
                return Err(self.unexpected("\";\" or a block"));
            }
            commands.push(command);
        }
        Ok(commands)
    }

    /// The recursion of this parser, of the compiler and of a run is bounded here.
    fn deeper(&self, depth: usize) -> Result<usize, CompileError> {
        match depth < NESTING_COUNT_MAX {
            true => Ok(depth + 1),
            false => {
                let text =
                    format!("Blocks and tests can be nested at most {NESTING_COUNT_MAX} deep");
                Err(CompileError::new(self.at, text))
            }
        }
    }

    /// An identifier, its arguments, its tests.
    fn node(&mut self, depth: usize) -> Result<Node, CompileError> {
        let at = self.at;
        self.nodes_count += 1;
        if self.nodes_count > NODES_COUNT_MAX {
            let text = format!("A script has at most {NODES_COUNT_MAX} commands and tests");
            return Err(CompileError::new(at, text));
        }
        let Token::Identifier(name) = self.advance()? else {
            return Err(CompileError::new(at, "Expected a name"));
        };
        let mut node = Node {
            name: name.to_ascii_lowercase(),
            at,
            arguments: self.arguments()?,
            tests: Vec::new(),
            in_list: false,
            block: None,
        };
        if let Token::Identifier(_) = self.token {
            node.tests.push(self.node(self.deeper(depth)?)?);
        } else if self.is_mark('(') {
            node.in_list = true;
            self.advance()?;
            loop {
                // until the closing parenthesis; each turn takes a test
                let Token::Identifier(_) = self.token else {
                    return Err(self.unexpected("a test"));
                };
                node.tests.push(self.node(self.deeper(depth)?)?);
                if !self.is_mark(',') {
                    break;
                }
                self.advance()?;
            }
            if !self.is_mark(')') {
                return Err(self.unexpected("\",\" or \")\""));
            }
            self.advance()?;
        }
        Ok(node)
    }

    /// Tags, numbers, strings and lists, in any order; which order is right the compiler knows.
    fn arguments(&mut self) -> Result<Vec<Argument>, CompileError> {
        let mut arguments = Vec::new();
        loop {
            // each turn takes an argument, or ends
            let at = self.at;
            let value = match &self.token {
                Token::Tag(name) => {
                    let name = name.to_ascii_lowercase();
                    self.advance()?;
                    Value::Tag(name)
                }
                Token::Number(number) => {
                    let number = *number;
                    self.advance()?;
                    Value::Number(number)
                }
                Token::Text(_) => Value::Strings(vec![self.string()?]),
                Token::Mark('[') => Value::Strings(self.list()?),
                _ => return Ok(arguments),
            };
            if arguments.len() == ARGUMENTS_COUNT_MAX {
                let text = format!("There are more than {ARGUMENTS_COUNT_MAX} arguments");
                return Err(CompileError::new(at, text));
            }
            arguments.push(Argument { at, value });
        }
    }

    fn string(&mut self) -> Result<(Position, String), CompileError> {
        let at = self.at;
        match self.token {
            Token::Text(_) => match self.advance()? {
                Token::Text(text) => Ok((at, text)),
                _ => Err(CompileError::new(at, "Expected a string")),
            },
            _ => Err(self.unexpected("a string")),
        }
    }

    /// RFC 5228 §2.4.2.1; a list has one string at least.
    fn list(&mut self) -> Result<Vec<(Position, String)>, CompileError> {
        self.advance()?;
        let mut strings = Vec::new();
        loop {
            // until the closing bracket; each turn takes a string
            strings.push(self.string()?);
            if strings.len() > LIST_COUNT_MAX {
                let text = format!("A list has at most {LIST_COUNT_MAX} strings");
                return Err(CompileError::new(self.at, text));
            }
            if self.is_mark(',') {
                self.advance()?;
            } else if self.is_mark(']') {
                self.advance()?;
                return Ok(strings);
            } else {
                return Err(self.unexpected("\",\" or \"]\""));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(source: &str) -> String {
        parse(source).expect_err("an error").to_string()
    }

    #[test]
    fn a_script_becomes_a_tree() {
        let commands = parse(
            "require [\"a\", \"b\"];\nIF anyof (true, not size :over 1K) { keep; }\nelse { stop; }",
        )
        .expect("a script");
        let names: Vec<&str> = commands.iter().map(|command| &command.name[..]).collect();
        assert_eq!(names, ["require", "if", "else"]);
        let any = &commands[1].tests[0];
        assert!(any.in_list && any.tests.len() == 2);
        assert_eq!(any.tests[1].tests[0].arguments.len(), 2);
        assert_eq!(commands[1].block.as_ref().expect("a block").len(), 1);
        assert_eq!(commands[1].at, Position { line: 2, column: 1 });
    }

    #[test]
    fn what_is_not_a_script_is_refused_with_its_place() {
        assert_eq!(
            error("keep\n  }"),
            "line 2, column 3: Expected \";\" or a block, found \"}\""
        );
        assert!(error("if true { keep;").contains("\"}\", found the end of the script"));
        assert!(error("if allof () {}").contains("Expected a test"));
        assert!(error("if allof (true; true) {}").contains("\",\" or \")\""));
        assert!(error("require [\"a\" \"b\"];").contains("\",\" or \"]\""));
        assert!(error("require [];").contains("Expected a string"));
        assert!(error("\"x\";").contains("Expected a command"));
    }

    #[test]
    fn size_and_depth_are_bounded() {
        let deep = "if true {".repeat(10_000);
        assert!(error(&deep).contains("at most 24 deep"));
        let deep = format!("if {} true {{}}", "not ".repeat(10_000));
        assert!(error(&deep).contains("at most 24 deep"));
        assert!(error(&"keep;".repeat(NODES_COUNT_MAX + 1)).contains("commands and tests"));
        let list = format!("x [{}\"a\"];", "\"a\",".repeat(LIST_COUNT_MAX));
        assert!(error(&list).contains("A list has at most"));
        assert!(error(&format!("x{};", " 1".repeat(65))).contains("more than 64 arguments"));
    }
}
