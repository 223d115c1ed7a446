import Glibc

/// What the operating system says about an error number. The C library keeps the text for each thread.
func systemText(_ code: Int32) -> String { String(cString: strerror(code)) }
