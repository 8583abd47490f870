//! What can go wrong: in loading a module, in a running VM, and in starting a plugin.

use std::fmt;

use crate::effect::Effect;

/// A module cannot be loaded.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// The engine does not run here, or not with these limits.
    Engine(String),
    /// It is no WebAssembly module, or cannot be compiled.
    Invalid(String),
    /// It has no `proxy_abi_version_0_2_0` or `proxy_abi_version_0_2_1`.
    Abi,
    /// It lacks an export that every filter must have.
    MissingExport(&'static str),
    /// It imports what this host does not have: `module.name` of each.
    MissingImports(Vec<String>),
    /// It imports or exports a function of a known name with another signature.
    Signature(String),
    /// A precompiled module is damaged, or was made by another version, for other limits or another processor.
    Precompiled(String),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(why) => write!(f, "the WebAssembly engine does not start: {why}"),
            Self::Invalid(why) => write!(f, "not a WebAssembly module that runs here: {why}"),
            Self::Abi => write!(f, "the module does not speak proxy-wasm ABI 0.2"),
            Self::MissingExport(name) => write!(f, "the module does not export `{name}`"),
            Self::MissingImports(names) => {
                write!(
                    f,
                    "the module imports what this host lacks: {}",
                    names.join(", ")
                )
            }
            Self::Signature(why) => write!(f, "a function has an unexpected signature: {why}"),
            Self::Precompiled(why) => write!(f, "the precompiled module is of no use here: {why}"),
        }
    }
}

impl std::error::Error for LoadError {}

/// A call into a VM did not succeed.
#[derive(Debug)]
#[non_exhaustive]
pub enum VmError {
    /// The filter failed during this call, and the VM is dead now.
    Failed(Box<Failure>),
    /// The VM died earlier. [`Vm::rebuild`](crate::Vm::rebuild) makes a new one.
    Dead,
    /// The context belongs to a VM that was rebuilt since.
    StaleContext,
    /// There is no such context, or not any more.
    UnknownContext,
}

/// How a filter failed.
#[derive(Debug)]
pub struct Failure {
    pub cause: Cause,
    /// The engine's own words, with a backtrace where there is one.
    pub message: String,
    /// What the filter asked for before it failed. Envoy carries it out all the same.
    pub effects: Vec<Effect>,
}

/// Why a VM died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// A trap: a panic in the filter, or an access outside of its memory.
    Trap,
    /// It ran for longer than [`Limits::epochs`](crate::Limits::epochs).
    TooLong,
    /// Calls nested deeper than [`Limits::stack_bytes`](crate::Limits::stack_bytes) allow.
    StackOverflow,
    /// It asked for more memory than [`Limits::memory_bytes`](crate::Limits::memory_bytes), and gave up.
    OutOfMemory,
    /// It called what may not be called yet, while it initialized itself or allocated memory.
    Restricted,
    /// The VM could not be made.
    Instantiation,
}

impl fmt::Display for VmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => write!(f, "{:?}: {}", failure.cause, failure.message),
            Self::Dead => write!(f, "the VM is dead: it must be rebuilt"),
            Self::StaleContext => write!(f, "the context is of a VM that was rebuilt since"),
            Self::UnknownContext => write!(f, "there is no such context"),
        }
    }
}

impl std::error::Error for VmError {}

/// A plugin cannot be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    Vm(VmError),
    /// `proxy_on_vm_start` answered false.
    VmRefused,
    /// `proxy_on_configure` answered false: the configuration has a mistake. The log says which.
    ConfigurationRefused,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vm(error) => error.fmt(f),
            Self::VmRefused => write!(f, "the filter refused to start"),
            Self::ConfigurationRefused => write!(f, "the filter refused its configuration"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<VmError> for StartError {
    fn from(error: VmError) -> Self {
        Self::Vm(error)
    }
}
