//! Builder methods that several layers have in common.

/// `bias` of a layer with a field `bias`.
macro_rules! bias_option {
    ($doc:literal) => {
        #[doc = $doc]
        #[must_use]
        pub fn bias(mut self, on: bool) -> Self {
            if !on {
                self.bias = None;
            }
            self
        }
    };
}
pub(super) use bias_option;

/// `eps`, `bias`, and the switch for weight and bias, which each norm calls by a name of its own.
macro_rules! norm_options {
    ($affine:ident) => {
        /// What is added to the variance; 1e-5 by default.
        #[must_use]
        pub fn eps(mut self, eps: f64) -> Self {
            self.eps = eps;
            self
        }

        /// Whether it multiplies by a weight and adds a bias; `true` by default.
        #[must_use]
        pub fn $affine(mut self, on: bool) -> Self {
            if !on {
                (self.weight, self.bias) = (None, None);
            }
            self
        }

        $crate::layers::options::bias_option!(
            "Whether a layer with a weight adds a bias as well; `true` by default."
        );
    };
}
pub(super) use norm_options;
