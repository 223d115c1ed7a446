import MasterKey
import ServiceRuntime

/// How old the active version of the root key may become, and how long the destruction of an old one can be undone.
package struct RootKeySection: Decodable, Sendable {
    /// Days until HDS-MASTERKEY-ROTATION-DUE.
    package let rotationDueDays: Int
    /// Seconds from the officer's order to the destruction.
    package let undoWindow: Int64

    package enum CodingKeys: String, CodingKey, CaseIterable {
        case rotationDueDays = "rotation-due-days"
        case undoWindow = "destroy-undo-window"
    }

    package init(rotationDueDays: Int = 365, undoWindow: Int64 = RootKeyRotation.undoWindow) {
        (self.rotationDueDays, self.undoWindow) = (rotationDueDays, undoWindow)
    }

    package init(from decoder: any Decoder) throws {
        let section = try decoder.container(keyedBy: CodingKeys.self)
        let standard = RootKeySection()
        rotationDueDays = try section.value(.rotationDueDays, default: standard.rotationDueDays, in: 1...3650)
        let window: Duration = try section.value(
            .undoWindow, default: .seconds(standard.undoWindow), in: .seconds(1) ... .seconds(365 * 86_400))
        undoWindow = window.components.seconds
    }
}
