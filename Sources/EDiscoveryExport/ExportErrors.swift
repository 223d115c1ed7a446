package import Diagnostics
import Glibc

extension DiagnosedError.Code {
    /// A setting of an export that can not be followed.
    package static let exportSetting: Self = "export-setting"
    /// The source gave items or spaces out of their order, or an item of a space that it did not give.
    package static let exportOrder: Self = "export-order"
    /// A file of an export can not be made, written or read.
    package static let exportFile: Self = "export-file"
    /// What the signer gave is no signature of the statement.
    package static let exportSignature: Self = "export-signature"
    /// A text that is no item, statement or proof of an export.
    package static let exportMalformed: Self = "export-malformed"
    /// A sealed volume that does not open: damaged, cut off, reordered, or for another key.
    package static let exportSealed: Self = "export-sealed"
    /// A file is larger than a volume may be.
    package static let exportVolume: Self = "export-volume"
}

extension DiagnosedError {
    static func exportSetting(_ summary: String, expected: String, found: String? = nil) -> DiagnosedError {
        DiagnosedError(.exportSetting, fault: .client, summary, expected: expected, found: found)
    }

    /// - Parameter path: of a file that this module named, never a sender's name.
    static func exportFile(_ what: String, _ path: String, errno code: Int32) -> DiagnosedError {
        let reason = String(cString: strerror(code))
        return DiagnosedError(
            .exportFile, fault: .store, "\(what): \(path)", found: reason,
            hint: code == ENOSPC || code == EDQUOT ? "make room and export again" : "check the folder and its owner")
    }

    static func exportMalformed(_ summary: String, expected: String? = nil, found: String? = nil) -> DiagnosedError {
        DiagnosedError(.exportMalformed, fault: .client, summary, expected: expected, found: found)
    }
}
