/// The release that all programs of the bundle are of; packages take their version from here.
package enum Release {
    package static let version = "0.1.0"
}
