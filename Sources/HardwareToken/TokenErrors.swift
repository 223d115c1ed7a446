internal import CPKCS11
package import Diagnostics

extension DiagnosedError.Code {
    /// The library of the token can not be loaded or started.
    package static let tokenModule: Self = "token-module"
    /// No token, or more than one, has the label.
    package static let tokenMissing: Self = "token-missing"
    /// The token does not let us in.
    package static let tokenLogin: Self = "token-login"
    /// No key, or more than one, has the label; or one that could leave the token.
    package static let tokenKey: Self = "token-key"
    /// The token failed at work.
    package static let tokenFailed: Self = "token-failed"
}

enum TokenFailure {
    /// What a return value means, and what to do about it.
    static func error(_ code: CK_RV, _ doing: String) -> DiagnosedError {
        let (name, hint) = meaning(code)
        let isLogin = [
            CKR_PIN_INCORRECT, CKR_PIN_LOCKED, CKR_PIN_EXPIRED, CKR_PIN_INVALID, CKR_PIN_LEN_RANGE,
            CKR_USER_PIN_NOT_INITIALIZED,
        ].contains { CK_RV($0) == code }
        return DiagnosedError(
            isLogin ? .tokenLogin : .tokenFailed, fault: isLogin ? .configuration : .store,
            "the hardware token refused: \(doing)", found: name, hint: hint)
    }

    private static func meaning(_ code: CK_RV) -> (name: String, hint: String) {
        switch Int(code) {
        case Int(CKR_PIN_INCORRECT), Int(CKR_PIN_INVALID), Int(CKR_PIN_LEN_RANGE):
            ("CKR_PIN_INCORRECT", "correct the PIN before trying again: a token locks itself after a few wrong ones")
        case Int(CKR_PIN_LOCKED): ("CKR_PIN_LOCKED", "the token's security officer has to set a new PIN")
        case Int(CKR_PIN_EXPIRED): ("CKR_PIN_EXPIRED", "set a new PIN with the token's own tool")
        case Int(CKR_USER_PIN_NOT_INITIALIZED):
            ("CKR_USER_PIN_NOT_INITIALIZED", "the token's security officer has to set a PIN")
        case Int(CKR_DEVICE_ERROR), Int(CKR_DEVICE_REMOVED), Int(CKR_TOKEN_NOT_PRESENT), Int(CKR_DEVICE_MEMORY):
            ("CKR_DEVICE_ERROR", "see whether the token is connected and its own tool reaches it")
        case Int(CKR_MECHANISM_INVALID), Int(CKR_MECHANISM_PARAM_INVALID):
            ("CKR_MECHANISM_INVALID", "the token has to offer CKM_AES_GCM with a nonce from outside")
        case Int(CKR_KEY_FUNCTION_NOT_PERMITTED):
            ("CKR_KEY_FUNCTION_NOT_PERMITTED", "the key needs CKA_ENCRYPT and CKA_DECRYPT")
        case Int(CKR_ENCRYPTED_DATA_INVALID), Int(CKR_ENCRYPTED_DATA_LEN_RANGE):
            ("CKR_ENCRYPTED_DATA_INVALID", "what should be opened was not wrapped by this key")
        case Int(CKR_TOKEN_WRITE_PROTECTED):
            ("CKR_TOKEN_WRITE_PROTECTED", "the token does not allow that keys are made")
        default: ("return value 0x" + String(code, radix: 16), "see the token's own log")
        }
    }
}
