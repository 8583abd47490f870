//! A function that raises a Lua value of its choice.
//!
//! `redis.call` raises a table, and scripts look into it. A function made by `mlua` can only raise errors of `mlua`,
//! and a wrapper in Lua would lose the line of `return redis.call(...)`, which is a tail call. So the wrapper is C's.
#![allow(unsafe_code)]

use std::ffi::c_int;

use mlua::ffi::{self, lua_State};
use mlua::{Function, Lua, Result};

/// Wraps a function that returns a value and whether to raise it.
pub(super) fn raising(lua: &Lua, inner: Function) -> Result<Function> {
    // SAFETY: `exec_raw` has put `inner` on top of the stack and has room for more; the closure takes it off as its
    // upvalue and is what is left, the one value that is returned.
    unsafe { lua.exec_raw(inner, |state| ffi::lua_pushcclosure(state, run, 1)) }
}

/// Calls the upvalue with the same arguments.
///
/// SAFETY: only reached as the closure made above, so the first upvalue is a function. Lua leaves every C function room
/// for 20 values (`LUA_MINSTACK`) beyond its arguments; two are used. `lua_call` and `lua_error` may jump out: this
/// frame owns nothing that would have to be dropped.
unsafe extern "C-unwind" fn run(state: *mut lua_State) -> c_int {
    unsafe {
        let arguments = ffi::lua_gettop(state);
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_insert(state, 1);
        ffi::lua_call(state, arguments, 2);
        let raise = ffi::lua_toboolean(state, -1) != 0;
        ffi::lua_settop(state, 1);
        if raise {
            ffi::lua_error(state);
        }
        1
    }
}
