//! Loading machine code that was compiled earlier: the one thing here that the compiler cannot check.
#![allow(unsafe_code)]

use crate::engine::{Engine, Module};
use crate::error::LoadError;

impl Engine {
    /// Loads what `Engine::precompile` wrote.
    ///
    /// # Safety
    /// The bytes are machine code, and run. They must be what `precompile` wrote, untouched by anyone who is not
    /// trusted as much as the program itself.
    ///
    /// # Errors
    /// When the bytes are of another version of this crate, or made for another processor. What comes of damaged bytes
    /// is not defined.
    pub unsafe fn load_precompiled(&self, bytes: &[u8]) -> Result<Module, LoadError> {
        // SAFETY: the caller promises that the bytes are the output of `precompile`.
        let module = unsafe { wasmtime::Module::deserialize(&self.wasmtime, bytes) };
        self.link(module.map_err(|error| LoadError::Precompiled(format!("{error:#}")))?)
    }
}
